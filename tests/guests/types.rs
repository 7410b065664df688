//! A function for each WIT type, mostly identities: what the host sends is what it gets back.

use std::sync::atomic::{AtomicU32, Ordering};

use exports::test::types::types::{
    Address, Counter, CounterBorrow, Guest, GuestCounter, Lamp, Permissions, Person, Problem, Shape, Week,
};

wit_bindgen::generate!({ path: "types.wit" });

struct Types;

struct Count(AtomicU32);

impl GuestCounter for Count {
    fn new(start: u32) -> Self {
        Self(start.into())
    }

    fn increment(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn two() -> Counter {
        Counter::new(Self::new(2))
    }
}

macro_rules! types {
    ($($name:ident: $type:ty;)*) => {
        impl Guest for Types {
            type Counter = Count;

            $(fn $name(value: $type) -> $type {
                value
            })*

            fn result_record(value: Person, fail: Option<String>) -> Result<Person, String> {
                fail.map_or(Ok(value), Err)
            }

            fn result_enum(fail: Option<Lamp>) -> Result<(), Lamp> {
                fail.map_or(Ok(()), Err)
            }

            fn result_empty(ok: bool) -> Result<(), ()> {
                if ok { Ok(()) } else { Err(()) }
            }

            fn result_value(value: Option<u32>) -> Result<u32, ()> {
                value.ok_or(())
            }

            fn words(type_: String, list: String, self_made: String) -> String {
                format!("{type_} {list} {self_made}")
            }

            fn optional(first: Option<u32>, second: Option<String>, third: Option<Vec<u8>>) -> u32 {
                u32::from(first.is_some()) + u32::from(second.is_some()) + u32::from(third.is_some())
            }

            fn no_parameters() -> String {
                "no parameters".into()
            }

            fn no_result(_value: String) {}

            fn nothing() {}

            fn look(counter: CounterBorrow<'_>) -> u32 {
                counter.get::<Count>().0.load(Ordering::Relaxed)
            }

            fn counters() -> Vec<Option<Counter>> {
                vec![Some(Counter::new(Count::new(0))), None]
            }
        }
    };
}

types! {
    id_bool: bool;
    id_s8: i8;
    id_u8: u8;
    id_s16: i16;
    id_u16: u16;
    id_s32: i32;
    id_u32: u32;
    id_s64: i64;
    id_u64: u64;
    id_f32: f32;
    id_f64: f64;
    id_char: char;
    id_string: String;
    id_strings: Vec<String>;
    id_bytes: Vec<u8>;
    id_numbers: Vec<u32>;
    id_lists: Vec<Vec<i64>>;
    id_tuple: (u8, String, bool);
    id_pairs: Vec<(String, f64)>;
    id_address: Address;
    id_person: Person;
    id_people: Vec<Person>;
    id_shape: Shape;
    id_lamp: Lamp;
    id_permissions: Permissions;
    id_week: Week;
    id_option: Option<u32>;
    id_option_option: Option<Option<String>>;
    id_option_list: Option<Vec<Option<bool>>>;
    id_results: Vec<Result<u32, String>>;
    id_empty_results: Vec<Result<(), ()>>;
    id_half_results: (Result<u32, ()>, Result<(), String>);
    id_result_result: Result<Result<u32, String>, Lamp>;
    result_variant: Result<u32, Problem>;
}

export!(Types);
