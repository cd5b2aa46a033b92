"""Checks that transformers refuses folders whose weights are int8 or two factors, in place of taking them for something else.

    python scripts/check_refused.py RUN/model ...
"""

import sys

import transformers


def main():
    opened = []
    for folder in sys.argv[1:]:
        config = transformers.AutoConfig.from_pretrained(folder)
        for opener in (transformers.AutoModel, transformers.MODEL_MAPPING[type(config)]):
            try:
                opener.from_pretrained(folder)
                opened.append(folder)
            except ValueError as error:
                print(f"{folder}: refused: {error}")
    if opened or not sys.argv[1:]:
        sys.exit(f"opened: {opened}")


if __name__ == "__main__":
    main()
