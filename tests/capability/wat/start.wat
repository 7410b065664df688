;; Loops in its start function: no export is ever reached.
(component
  (core module $m
    (func $forever (loop br 0))
    (start $forever)
    (func (export "never")))
  (core instance $i (instantiate $m))
  (func (export "never") (canon lift (core func $i "never"))))
