//! States of something made of several tokens.

use burn::tensor::Tensor;

/// The mean state of each list of tokens, `[lists, hidden]`; zeros for a list without tokens.
pub(crate) fn means(states: &Tensor<2>, lists: &[Vec<u32>]) -> Tensor<2> {
    let tokens = lists.concat();
    if tokens.is_empty() {
        return Tensor::zeros([lists.len(), states.dims()[1]], &states.device());
    }
    let picked = kernels::pick(states.clone(), &tokens);
    if lists.iter().all(|list| list.len() == 1) {
        return picked;
    }
    kernels::mean_rows(picked, &kernels::rows_of(lists.iter().map(Vec::len)))
}
