# TOML has no null. A list that several modules add to may name a value twice; order is kept.
lib:
let
  clean =
    value:
    if lib.isAttrs value then
      lib.mapAttrs (_: clean) (lib.filterAttrs (_: member: member != null) value)
    else if lib.isList value then
      lib.unique (map clean (lib.filter (member: member != null) value))
    else
      value;
in
clean
