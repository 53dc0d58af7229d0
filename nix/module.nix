# services.seance: the daemon under systemd, with its configuration proved while the system is built.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.seance;
  inherit (cfg.settings) store;

  # A directory may be left over from before the bucket.
  onDisk =
    store.kind == "filesystem"
    || (store.kind == null && store.directory != null && store.s3.bucket == null);
  # What an S3 store cannot do without, by the name that an earlier deployment's environment has for it.
  bucket = {
    SPACES_BUCKET = store.s3.bucket;
    SPACES_ACCESS_KEY_ID = store.s3.access_key_id_file;
    SPACES_SECRET_ACCESS_KEY = store.s3.secret_access_key_file;
  };
in
{
  imports = [
    ./module/settings.nix
    ./module/configuration.nix
    ./module/assertions.nix
    ./module/sockets.nix
    ./module/service.nix
  ];

  options.services.seance = {
    enable = lib.mkEnableOption "seance, the back end for releases, updates and signaling";

    package = mkOption {
      type = types.package;
      default = pkgs.seance;
      defaultText = lib.literalMD "the package of seance's flake; without the flake's module, `pkgs.seance` of its overlay";
      description = "The seance to run, and to check the configuration with.";
    };

    credentials = mkOption {
      type = types.attrsOf types.path;
      default = { };
      example = lib.literalExpression ''
        { spaces-secret-key = config.sops.secrets."spaces/secret-key".path; }
      '';
      description = ''
        Secrets by the name that a `…_file` option of the settings uses, each with the file that holds it at run time
        (systemd's `LoadCredential=`: read by root before the start, visible to seance alone, never in the Nix store).
        They are read at the start: let the secret manager restart `seance-backend.service` when one changes. The
        sockets stay open meanwhile, so nobody is refused.
      '';
    };

    environmentFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/run/secrets/seance.env";
      description = ''
        File of `NAME=value` lines that systemd reads at the start, for the names of earlier deployments
        (`SPACES_ACCESS_KEY_ID`, `SPACES_SECRET_ACCESS_KEY`, …). It must not lie in the Nix store. Not for `PORT`: the
        sockets are made from {option}`services.seance.settings`.
      '';
    };

    expectedEnvironment = mkOption {
      type = types.listOf (types.strMatching "SPACES_[A-Z_]+|SEANCE_[A-Z0-9_]+");
      default = lib.optionals (cfg.environmentFile != null && !onDisk) (
        lib.attrNames (lib.filterAttrs (_: setting: setting == null) bucket)
      );
      defaultText = lib.literalMD ''
        with an `environmentFile` and no store on disk, those of `SPACES_BUCKET`, `SPACES_ACCESS_KEY_ID` and
        `SPACES_SECRET_ACCESS_KEY` whose setting is missing
      '';
      description = ''
        Names that {option}`services.seance.environmentFile` will set. The configuration is checked as if each had a
        value; the values themselves are not known while the system is built. To be given only when the check misses
        something that the file has.
      '';
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Open the ports of the HTTP, HTTPS and signaling listeners that other machines can reach. The port of the
        metrics stays closed.
      '';
    };
  };
}
