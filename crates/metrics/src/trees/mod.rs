//! Attachment scores of dependency trees.

mod arc;
mod clas;
mod las;
mod uas;

pub use arc::Arc;
pub use clas::clas;
pub use las::las;
pub use uas::uas;
