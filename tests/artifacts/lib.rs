//! Guest programs, built for the tests.
