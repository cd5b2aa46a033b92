//! A run does not depend on how many threads compute it.

use crate::job::{bag, bert, bits, deberta, job, record, settings};
use polytask_train::Start;
use serde_json::json;

#[test]
fn the_same_weights_for_every_number_of_threads() {
    let train = json!({"max_steps": 15, "tokens_per_batch": 256, "seed": 9});
    let plain = settings(json!({"train": train}));
    let optimizer = |name: &str| settings(json!({"train": train, "optimizer": { name: {} }}));
    let others =
        ["sgd", "lion", "adafactor", "muon", "schedule_free_adamw"].map(|name| (bert(), optimizer(name)));
    let cases = [bag(), bert(), deberta()].map(|backbone| (backbone, plain.clone()));
    for (backbone, settings) in cases.into_iter().chain(others) {
        let trained = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (mut job, dir) = (job(backbone.clone(), 9), tempfile::tempdir().unwrap());
                record(&mut job, &settings, dir.path(), Start::Fresh, None).0.unwrap();
                bits(&job.model)
            })
        };
        let one = trained(1);
        for threads in [2, 3, 8] {
            assert!(trained(threads) == one, "{threads} threads");
        }
    }
}
