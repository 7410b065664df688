//! A hundred tools, for lists. Each adds its own number.

use exports::test::many::many::Guest;

wit_bindgen::generate!({
    inline: r#"
        package test:many;

        interface many {
            n00: func(value: u32) -> u32; n01: func(value: u32) -> u32; n02: func(value: u32) -> u32;
            n03: func(value: u32) -> u32; n04: func(value: u32) -> u32; n05: func(value: u32) -> u32;
            n06: func(value: u32) -> u32; n07: func(value: u32) -> u32; n08: func(value: u32) -> u32;
            n09: func(value: u32) -> u32; n10: func(value: u32) -> u32; n11: func(value: u32) -> u32;
            n12: func(value: u32) -> u32; n13: func(value: u32) -> u32; n14: func(value: u32) -> u32;
            n15: func(value: u32) -> u32; n16: func(value: u32) -> u32; n17: func(value: u32) -> u32;
            n18: func(value: u32) -> u32; n19: func(value: u32) -> u32; n20: func(value: u32) -> u32;
            n21: func(value: u32) -> u32; n22: func(value: u32) -> u32; n23: func(value: u32) -> u32;
            n24: func(value: u32) -> u32; n25: func(value: u32) -> u32; n26: func(value: u32) -> u32;
            n27: func(value: u32) -> u32; n28: func(value: u32) -> u32; n29: func(value: u32) -> u32;
            n30: func(value: u32) -> u32; n31: func(value: u32) -> u32; n32: func(value: u32) -> u32;
            n33: func(value: u32) -> u32; n34: func(value: u32) -> u32; n35: func(value: u32) -> u32;
            n36: func(value: u32) -> u32; n37: func(value: u32) -> u32; n38: func(value: u32) -> u32;
            n39: func(value: u32) -> u32; n40: func(value: u32) -> u32; n41: func(value: u32) -> u32;
            n42: func(value: u32) -> u32; n43: func(value: u32) -> u32; n44: func(value: u32) -> u32;
            n45: func(value: u32) -> u32; n46: func(value: u32) -> u32; n47: func(value: u32) -> u32;
            n48: func(value: u32) -> u32; n49: func(value: u32) -> u32; n50: func(value: u32) -> u32;
            n51: func(value: u32) -> u32; n52: func(value: u32) -> u32; n53: func(value: u32) -> u32;
            n54: func(value: u32) -> u32; n55: func(value: u32) -> u32; n56: func(value: u32) -> u32;
            n57: func(value: u32) -> u32; n58: func(value: u32) -> u32; n59: func(value: u32) -> u32;
            n60: func(value: u32) -> u32; n61: func(value: u32) -> u32; n62: func(value: u32) -> u32;
            n63: func(value: u32) -> u32; n64: func(value: u32) -> u32; n65: func(value: u32) -> u32;
            n66: func(value: u32) -> u32; n67: func(value: u32) -> u32; n68: func(value: u32) -> u32;
            n69: func(value: u32) -> u32; n70: func(value: u32) -> u32; n71: func(value: u32) -> u32;
            n72: func(value: u32) -> u32; n73: func(value: u32) -> u32; n74: func(value: u32) -> u32;
            n75: func(value: u32) -> u32; n76: func(value: u32) -> u32; n77: func(value: u32) -> u32;
            n78: func(value: u32) -> u32; n79: func(value: u32) -> u32; n80: func(value: u32) -> u32;
            n81: func(value: u32) -> u32; n82: func(value: u32) -> u32; n83: func(value: u32) -> u32;
            n84: func(value: u32) -> u32; n85: func(value: u32) -> u32; n86: func(value: u32) -> u32;
            n87: func(value: u32) -> u32; n88: func(value: u32) -> u32; n89: func(value: u32) -> u32;
            n90: func(value: u32) -> u32; n91: func(value: u32) -> u32; n92: func(value: u32) -> u32;
            n93: func(value: u32) -> u32; n94: func(value: u32) -> u32; n95: func(value: u32) -> u32;
            n96: func(value: u32) -> u32; n97: func(value: u32) -> u32; n98: func(value: u32) -> u32;
            n99: func(value: u32) -> u32;
        }

        world guest {
            export many;
        }
    "#,
});

struct Many;

macro_rules! tools {
    ($($name:ident)*) => {
        impl Guest for Many {
            $(fn $name(value: u32) -> u32 {
                value.wrapping_add(stringify!($name)[1..].parse().unwrap())
            })*
        }
    };
}

tools! {
        n00 n01 n02 n03 n04 n05 n06 n07 n08 n09 n10 n11 n12 n13 n14 n15 n16 n17 n18 n19
        n20 n21 n22 n23 n24 n25 n26 n27 n28 n29 n30 n31 n32 n33 n34 n35 n36 n37 n38 n39
        n40 n41 n42 n43 n44 n45 n46 n47 n48 n49 n50 n51 n52 n53 n54 n55 n56 n57 n58 n59
        n60 n61 n62 n63 n64 n65 n66 n67 n68 n69 n70 n71 n72 n73 n74 n75 n76 n77 n78 n79
        n80 n81 n82 n83 n84 n85 n86 n87 n88 n89 n90 n91 n92 n93 n94 n95 n96 n97 n98 n99
}

export!(Many);
