;; Grows without end; `memory` and `table` ignore what they are told.
(component
  (core module $m
    (memory 1)
    (table $t 1 funcref)
    (table $u 1 funcref)
    (table $v 1 funcref)
    (func (export "memory") (loop (drop (memory.grow (i32.const 16))) br 0))
    (func (export "touch")
      (loop
        (i32.store (i32.mul (memory.grow (i32.const 16)) (i32.const 65536)) (i32.const 1))
        br 0))
    (func (export "table") (loop (drop (table.grow $t (ref.null func) (i32.const 1))) br 0))
    (func (export "tables")
      (loop
        (drop (table.grow $t (ref.null func) (i32.const 100)))
        (drop (table.grow $u (ref.null func) (i32.const 100)))
        (drop (table.grow $v (ref.null func) (i32.const 100)))
        br 0))
    (func (export "table-at-once") (loop (drop (table.grow $t (ref.null func) (i32.const 1000000))) br 0))
    (func (export "politely") (result i32) (memory.grow (i32.const 60000))))
  (core instance $i (instantiate $m))
  (func (export "memory") (canon lift (core func $i "memory")))
  (func (export "and-touch") (canon lift (core func $i "touch")))
  (func (export "table") (canon lift (core func $i "table")))
  (func (export "tables") (canon lift (core func $i "tables")))
  (func (export "table-at-once") (canon lift (core func $i "table-at-once")))
  (func (export "politely") (result s32) (canon lift (core func $i "politely"))))
