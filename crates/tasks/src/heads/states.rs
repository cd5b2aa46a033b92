//! States of units of several tokens.

use burn::tensor::Tensor;

/// The mean state of each list of tokens, `[lists, hidden]`; zeros for a list without tokens.
pub(crate) fn segment_means(states: &Tensor<2>, lists: &[Vec<u32>]) -> Tensor<2> {
    let tokens = lists.concat();
    if tokens.is_empty() {
        return Tensor::zeros([lists.len(), states.dims()[1]], &states.device());
    }
    let picked = kernels::gather_rows(states.clone(), &tokens);
    if lists.iter().all(|list| list.len() == 1) {
        return picked;
    }
    kernels::segment_mean(picked, &kernels::offsets_from_lengths(lists.iter().map(Vec::len)))
}
