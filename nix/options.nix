# The option reference, nix/options.md, from the options themselves. `tests/nix/run --write` writes it.
{ lib, options }:
let
  ours = lib.filter (option: option.visible && !option.internal && option.description != null) (
    lib.optionAttrSetToDocList { inherit (options.services) seance; }
    ++ lib.optionAttrSetToDocList { host = options.seance.host or { }; }
  );
  # Both kinds of text that an option can have.
  text = value: value.text or (lib.generators.toPretty { } value);
  block = label: value: "*${label}:*\n\n```nix\n${lib.removeSuffix "\n" (text value)}\n```\n\n";
  prose = value: "${lib.removeSuffix "\n" (value.text or value)}\n\n";
  links = builtins.replaceStrings [ "{option}" ] [ "" ];
  entry =
    option:
    "## `${option.name}`\n\n${links (prose option.description)}*Type:* ${option.type}\n\n"
    + lib.optionalString (option ? default) (block "Default" option.default)
    + lib.optionalString (option ? example) (block "Example" option.example);
in
"# Options of the NixOS module\n\nEvery option of `seance config-reference` can be set in `services.seance.settings`, too.\n\n"
+ lib.concatMapStrings entry ours
