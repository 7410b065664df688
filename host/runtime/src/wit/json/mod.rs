//! JSON to component values and back, straight along the types. It is on the path of every call: nothing is prepared
//! here, nothing is copied that can be moved, and text is made only for errors.

mod argument_error;
mod decode;
mod encode;

pub use argument_error::{ArgumentError, Problem};
pub use decode::decode_arguments;
pub use encode::{EncodeError, GuestError, Outcome, encode_result};
