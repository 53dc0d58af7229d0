# TOML from plain data, without building anything: what `pkgs.formats.toml` writes by a derivation.
{ lib }:
let
  key = name: if builtins.match "[A-Za-z0-9_-]+" name != null then name else builtins.toJSON name;
  isTable = lib.isAttrs;
  isTables = value: lib.isList value && value != [ ] && lib.all lib.isAttrs value;
  scalar =
    value:
    if lib.isList value then
      "[${lib.concatMapStringsSep ", " scalar value}]"
    else if lib.isAttrs value then
      "{ ${lib.concatStringsSep ", " (lib.mapAttrsToList (name: member: "${key name} = ${scalar member}") value)} }"
    else if lib.isPath value then
      builtins.toJSON (toString value)
    else
      builtins.toJSON value;
  # A table inside an array of tables is written inline: its header would need the array's place.
  table =
    at: value:
    let
      below = name: at ++ [ (key name) ];
      path = name: lib.concatStringsSep "." (below name);
      plain = lib.filterAttrs (_: member: !isTable member && !isTables member) value;
      tables = lib.filterAttrs (_: isTable) value;
      arrays = lib.filterAttrs (_: isTables) value;
      assignments = members: lib.concatStrings (
        lib.mapAttrsToList (name: member: "${key name} = ${scalar member}\n") members
      );
    in
    assignments plain
    + lib.concatStrings (
      lib.mapAttrsToList (name: member: "\n[${path name}]\n${table (below name) member}") tables
    )
    + lib.concatStrings (
      lib.mapAttrsToList (
        name: members: lib.concatMapStrings (member: "\n[[${path name}]]\n${assignments member}") members
      ) arrays
    );
in
table [ ]
