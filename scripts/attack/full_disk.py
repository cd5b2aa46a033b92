"""Disks that are full: an error that says so, and the run is resumed to the same bits."""

import shutil
import subprocess

from bench import model_hash, steps

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Fails the n-th write into a file whose path has "/run/" in it, or that one and all behind it. */
static int fails(int fd) {
    static int number = 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strstr(path, "/run/") == 0) return 0;
    int now = __sync_add_and_fetch(&number, 1);
    int at = atoi(getenv("FAIL_AT"));
    return getenv("FAIL_ON") ? now >= at : now == at;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    if (fails(fd)) {
        /* Half of it is written, as by a disk that has space for that. */
        if (count > 1 && getenv("FAIL_HALF")) real(fd, bytes, count / 2);
        errno = ENOSPC;
        return -1;
    }
    return real(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) real = dlsym(RTLD_NEXT, "writev");
    if (fails(fd)) { errno = ENOSPC; return -1; }
    return real(fd, parts, count);
}
"""


def attack(bench, tally):
    whole = bench.copy(bench.base)
    ran = bench.run(whole, "train", "job.toml", "--run", "run")
    wanted = (model_hash(whole / "run"), steps(whole / "run"))
    largest = max(path.stat().st_size for path in (whole / "run").rglob("*") if path.is_file())
    every = largest // 12 if bench.quick else max(1, largest // 1000)
    bench.each(lambda size: limited(bench, tally, wanted, size), range(0, largest, every))
    shim = compiled(bench)
    if shim is None:
        print("full_disk: no cc here, so that no single write fails")
        return
    for mode in ({}, {"FAIL_ON": "1"}, {"FAIL_HALF": "1"}):
        at_every_write(bench, tally, wanted, shim, mode)


def compiled(bench):
    if shutil.which("cc") is None:
        return None
    source, shim = bench.root / "shim.c", bench.root / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return shim


def limited(bench, tally, wanted, size):
    """No file may be longer."""
    folder = bench.copy(bench.base)
    ran = bench.run(folder, "train", "job.toml", "--run", "run", file_size=size)
    tally.add(outcome(bench, folder, ran, wanted), f"files of at most {size} bytes")
    shutil.rmtree(folder)


def at_every_write(bench, tally, wanted, shim, mode):
    number, every = 1, 40 if bench.quick else 1
    while number < 20000 and not bench.over():
        folder = bench.copy(bench.base)
        env = {"LD_PRELOAD": str(shim), "FAIL_AT": str(number), **mode}
        ran = bench.run(folder, "train", "job.toml", "--run", "run", env=env)
        tally.add(outcome(bench, folder, ran, wanted), f"write {number} fails, {mode}")
        done = ran.code == 0
        shutil.rmtree(folder)
        if done:
            return
        number += every


def outcome(bench, folder, ran, wanted):
    if ran.crash():
        return ran.crash()
    if ran.code != 0:
        resume = (folder / "run/config.toml").exists()
        ran = bench.run(folder, *(("train", "--resume", "run") if resume else ("train", "job.toml", "--run", "run")))
        if ran.crash() or ran.code != 0:
            return ran.crash() or f"not resumed: {ran.err.decode(errors='replace')}"
    if model_hash(folder / "run") != wanted[0]:
        return "another model"
    # Of metrics.jsonl the lines that could not be written are missing, and nothing else.
    found = steps(folder / "run")
    return "equal" if len(found) == len(set(found)) and set(found) <= set(wanted[1]) else f"steps {found}"
