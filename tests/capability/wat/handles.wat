;; Makes handles of a resource of its own, and never gives one back.
(component
  (type $own (resource (rep i32)))
  (core func $new (canon resource.new $own))
  (core module $m
    (import "host" "new" (func $new (param i32) (result i32)))
    (func (export "keep") (loop (drop (call $new (i32.const 1))) br 0)))
  (core instance $i (instantiate $m (with "host" (instance (export "new" (func $new))))))
  (func (export "keep") (canon lift (core func $i "keep"))))
