# seance-backend.service.
{
  config,
  lib,
  ...
}:
let
  cfg = config.services.seance;
  inherit (cfg) configuration;

  # Below them systemd has made the directories and given them to the service.
  own = [
    "/var/lib/seance"
    "/var/cache/seance"
    "/var/log/seance"
    "/run/seance"
  ];
  directory = configuration.store.directory or "store";
  below = parent: directory == parent || lib.hasPrefix "${parent}/" directory;
  outside = lib.optional (
    configuration.store.kind == "filesystem" && lib.hasPrefix "/" directory && !lib.any below own
  ) directory;

  drainSeconds = configuration.http.drain_seconds or 10;

  # What a reload cannot put in force (`Config::needs_restart`): a change of it restarts.
  without = names: section: removeAttrs (configuration.${section} or { }) names;
  needsRestart = {
    http = without [ "cors_origins" ] "http";
    https = without [ ] "https";
    deploy = without [
      "max_body_bytes"
      "max_files"
      "stall_timeout_seconds"
      "failed_keys_per_minute"
    ] "deploy";
    metrics = without [ ] "metrics";
    audit = without [ ] "audit";
    log = without [ "filter" ] "log";
    store = without [ ] "store";
    signaling = {
      inherit (configuration.signaling) listen;
      plain = configuration.signaling.plain or null;
    };
  };
in
{
  config = lib.mkIf cfg.enable {
    # Not a dynamic user: restores, the command line as root and volumes of their own need one stable owner.
    users.users.seance = {
      isSystemUser = true;
      group = "seance";
      home = "/var/lib/seance";
    };
    users.groups.seance = { };

    systemd.tmpfiles.settings.seance = lib.genAttrs outside (_: {
      d = {
        user = "seance";
        group = "seance";
        mode = "0700";
      };
    });

    # For `seance key new` and the like, by the version that runs.
    environment.systemPackages = [ cfg.package ];

    environment.etc."systemd/catalog/seance.catalog".source = ../seance.catalog;
    systemd.services.systemd-journal-catalog-update.restartTriggers = [ ../seance.catalog ];

    systemd.services.seance-backend = {
      description = "seance: releases, updates, signaling";
      aliases = [ "seance.service" ];
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      unitConfig.RequiresMountsFor = outside;

      # Stopping first would take the sockets down, too.
      stopIfChanged = false;
      # ExecStart names /etc, so that a changed configuration reloads and only a changed program restarts.
      reloadTriggers = [ cfg.configFile ];
      restartTriggers = [ (builtins.hashString "sha256" (builtins.toJSON needsRestart)) ];

      # With a limit a crash loop would end with the sockets gone; instead it is tried for ever, at most 2 s apart, and
      # heals by itself when the cause is gone.
      startLimitIntervalSec = 0;

      serviceConfig = {
        Type = "notify-reload";
        ExecStart = "${lib.getExe' cfg.package "seance"} serve --config /etc/seance/config.toml";
        EnvironmentFile = lib.mkIf (cfg.environmentFile != null) [ (toString cfg.environmentFile) ];
        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${toString path}") cfg.credentials;

        Restart = "always";
        RestartSec = "100ms";
        RestartSteps = 5;
        RestartMaxDelaySec = "2s";
        WatchdogSec = "30s";
        # The drain, then a reserve for writing what has to be written.
        TimeoutStopSec = drainSeconds + 20;
        # A child that runs out of memory is no reason to stop the daemon.
        OOMPolicy = "continue";
        LimitNOFILE = 524288;

        User = "seance";
        Group = "seance";
        UMask = "0077";
        StateDirectory = "seance";
        StateDirectoryMode = "0700";
        CacheDirectory = "seance";
        CacheDirectoryMode = "0700";
        LogsDirectory = "seance";
        LogsDirectoryMode = "0700";
        RuntimeDirectory = "seance";
        RuntimeDirectoryMode = "0700";
        ReadWritePaths = outside;
      }
      // import ./hardening.nix;
    };
  };
}
