//! Scores of predicted classes and sets of labels.

mod accuracy;
mod class_f1;
mod directed_f1;
mod label_macro_f1;
mod label_micro_f1;
mod macro_f1;
mod matthews;
mod micro_f1;
mod quadratic_kappa;
mod sample_f1;

pub use accuracy::accuracy;
pub use class_f1::class_f1;
pub use directed_f1::directed_f1;
pub use label_macro_f1::label_macro_f1;
pub use label_micro_f1::label_micro_f1;
pub use macro_f1::macro_f1;
pub use matthews::matthews;
pub use micro_f1::micro_f1;
pub use quadratic_kappa::quadratic_kappa;
pub use sample_f1::sample_f1;
