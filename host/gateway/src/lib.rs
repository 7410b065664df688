//! Reception: the doors, the one pipeline of a call, the one reply table.
