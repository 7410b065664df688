//! The workshop: components decoded, compiled and called.
