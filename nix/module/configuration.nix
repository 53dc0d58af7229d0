# From the settings to /etc/seance/config.toml, proved by the program that will read it.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.seance;

  clean = import ./clean.nix lib;

  # A value of the form that each name needs: the real ones are not known here.
  sample = name: if lib.hasSuffix "ENDPOINT" name then "https://expected.invalid" else "expected";
  environment = lib.genAttrs cfg.expectedEnvironment sample;

  written = (pkgs.formats.toml { }).generate "seance-unchecked.toml" cfg.configuration;
  canExecute = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
in
{
  options.services.seance = {
    configuration = lib.mkOption {
      type = lib.types.raw;
      internal = true;
      readOnly = true;
      description = "The settings as they are written: without nulls, lists without repetition.";
    };
    configFile = lib.mkOption {
      type = lib.types.path;
      internal = true;
      readOnly = true;
      description = "The checked file.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.seance.configuration = clean (
      cfg.settings
      # An empty table would name a store that nobody asked for.
      // lib.optionalAttrs (clean cfg.settings.store.s3 == { }) {
        store = removeAttrs cfg.settings.store [ "s3" ];
      }
    );
    services.seance.configFile =
      if canExecute then
        pkgs.runCommand "seance.toml" environment ''
          ${lib.getExe' cfg.package "seance"} check-config ${written}
          cp ${written} $out
        ''
      else
        # A foreign machine's program does not run here; there the daemon itself refuses a wrong file on reload.
        written;
    environment.etc."seance/config.toml".source = cfg.configFile;
  };
}
