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
    let mut ends = vec![0];
    lists.iter().for_each(|list| ends.push(ends[ends.len() - 1] + list.len()));
    kernels::mean_rows(picked, &ends.into())
}
