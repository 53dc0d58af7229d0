# Evaluates the module of this checkout in a NixOS of another one, and gives what tests/nix/run checks.
{
  # A checkout with `nixos/` and `lib/`; with `pkgs/top-level` its packages are used, else stand-ins.
  nixpkgs,
  # File with the names of packages that the modules of that checkout ask for.
  names,
  # Checkouts of the flake's other inputs, or null.
  disko ? null,
  sops-nix ? null,
  agenix ? null,
  nixos-anywhere ? null,
  devenv ? null,
  system ? "x86_64-linux",
}:
let
  lib = import (nixpkgs + "/lib");
  stand-ins = import ./stand-ins.nix {
    inherit lib system;
    names = lib.filter (name: name != "") (lib.splitString "\n" (builtins.readFile names));
  };
  pkgs =
    if builtins.pathExists (nixpkgs + "/pkgs/top-level/default.nix") then
      import nixpkgs { inherit system; }
    else
      stand-ins;

  # A release of seance is not built to be evaluated; the units name the place where the lab puts it.
  seance =
    derivation {
      name = "seance-0.1.0";
      inherit system;
      builder = "/bin/sh";
    }
    // {
      meta.mainProgram = "seance";
    };

  nixos =
    modules:
    import (nixpkgs + "/nixos/lib/eval-config.nix") {
      inherit lib system;
      modules = [
        { nixpkgs.pkgs = pkgs; }
        ../../nix/module.nix
        { services.seance.package = seance; }
      ]
      ++ modules;
    };
  # The least that NixOS asks of any machine.
  least = {
    boot.loader.grub.enable = false;
    fileSystems."/".device = "/dev/vda1";
    system.stateVersion = lib.trivial.release;
    documentation.enable = false;
  };

  toml = import ./toml.nix { inherit lib; };
  failed = config: map (a: a.message) (lib.filter (a: !a.assertion) config.assertions);
  isOurs = name: lib.hasPrefix "seance" name;

  good =
    file:
    let
      inherit (nixos [ least file ]) config;
      units = lib.filterAttrs (name: unit: isOurs name && unit.enable) config.systemd.units;
    in
    {
      failed = failed config;
      warnings = config.warnings;
      environment = config.services.seance.expectedEnvironment;
      files = {
        "config.toml" = toml config.services.seance.configuration;
      }
      // lib.mapAttrs (_: unit: unit.text) units;
      aliases = lib.mapAttrs (_: unit: unit.aliases) units;
      firewall = config.networking.firewall.allowedTCPPorts;
      tmpfiles = config.systemd.tmpfiles.settings.seance or { };
    };
  bad =
    file:
    let
      fixture = import file;
    in
    {
      inherit (fixture) message;
      failed = failed (nixos [ least fixture.module ]).config;
    };
  each =
    check: directory:
    lib.mapAttrs' (
      name: _: lib.nameValuePair (lib.removeSuffix ".nix" name) (check (directory + "/${name}"))
    ) (builtins.readDir directory);

  # The droplet of the template, and what it would be with other modules.
  droplet = modules: server ([ ../../nix/digitalocean.nix ] ++ modules);
  server =
    modules:
    (nixos (
      [
        (disko + "/module.nix")
        ../../nix/disko.nix
        ../../nix/host.nix
        ../../nix/templates/default/configuration.nix
        { documentation.enable = false; system.stateVersion = lib.mkForce lib.trivial.release; }
      ]
      ++ modules
    )).config;
in
{
  good = each good ./fixtures/good;
  bad = each bad ./fixtures/bad;
  droplet =
    let
      config = droplet [ ];
    in
    {
      failed = failed config;
      drvPath = config.system.build.toplevel.drvPath;
      format = config.system.build.diskoScriptNoDeps.drvPath;
      firewall = config.networking.firewall.allowedTCPPorts;
    };
  # Any other VPS: DHCP, another disk.
  vps =
    let
      config = server [ { seance.host.disk = lib.mkForce "/dev/sda"; } ];
    in
    {
      failed = failed config;
      drvPath = config.system.build.toplevel.drvPath;
      dhcp = config.networking.useDHCP;
      grub = config.boot.loader.grub.devices;
      grows = config.boot.growPartition && config.fileSystems."/".autoResize;
    };
  # The template with another machine.json: what OpenTofu writes.
  machine =
    directory:
    let
      inherit (nixos [
        least
        ../../nix/host.nix
        (directory + "/configuration.nix")
        { system.stateVersion = lib.mkForce lib.trivial.release; }
      ]) config;
    in
    {
      failed = failed config;
      toml = toml config.services.seance.configuration;
      credentials = config.systemd.services.seance-backend.serviceConfig.LoadCredential;
    };
  causes = import ./causes.nix { inherit lib droplet failed; };
  # The README's examples of secrets, from a directory with one module for each secret manager.
  examples =
    directory:
    let
      given =
        name: module:
        let
          inherit (nixos [
            least
            module
            (directory + "/${name}.nix")
            # agenix asks for it; NixOS has it since 24.11.
            (lib.optionalAttrs (!builtins.pathExists (nixpkgs + "/nixos/modules/services/system/userborn.nix")) {
              options.services.userborn.enable = lib.mkEnableOption "userborn";
            })
            {
              services.seance.enable = true;
              # Both decrypt with its host key.
              services.openssh.enable = true;
            }
          ]) config;
        in
        {
          failed = failed config;
          credentials = config.systemd.services.seance-backend.serviceConfig.LoadCredential;
          triggers = map toString config.systemd.services.seance-backend.restartTriggers;
          restarted = lib.mapAttrs (_: secret: secret.restartUnits) config.sops.secrets or { };
        };
    in
    lib.optionalAttrs (sops-nix != null) { sops = given "sops" (sops-nix + "/modules/sops"); }
    // lib.optionalAttrs (agenix != null) { agenix = given "agenix" (agenix + "/modules/age.nix"); };
  options = import ../../nix/options.nix {
    inherit lib;
    inherit (nixos [ least ../../nix/host.nix ]) options;
  };
  # What a switch does to the service when these settings come, compared with none.
  switching =
    let
      service =
        settings:
        (nixos [
          least
          {
            services.seance.enable = true;
            services.seance.settings = settings;
          }
        ]).config.systemd.services.seance-backend;
      before = service { };
      triggers = service: map toString service.restartTriggers;
      what =
        settings:
        let
          after = service settings;
        in
        if triggers after != triggers before then
          "restart"
        else if map toString after.reloadTriggers != map toString before.reloadTriggers then
          "reload"
        else
          "nothing";
    in
    {
      nothing = map what [
        { }
        { acme.contact = null; }
      ];
      reload = map what [
        { log.filter = "warn"; }
        { http.cors_origins = [ "https://a.example" ]; }
        { signaling.max_topic_bytes = 100; }
        { apps.default.prefix = "prod"; }
        { deploy.max_files = 7; }
      ];
      restart = map what [
        { acme.contact = "ops@example.com"; }
        { drafts.max_open = 7; }
        { signaling.bus = "nats"; }
        { signaling.nats.subject_prefix = "other"; }
        { store.directory = "elsewhere"; }
        { deploy.follow_seconds = 7; }
        { log.format = "json"; }
      ];
    };
  # nix/package.nix, with a crane that gives back what it is asked for.
  package =
    let
      same = lib.id;
      asked = import ../../nix/package.nix {
        pkgs = { inherit lib; cmake = "cmake"; };
        crane.mkLib = _: {
          buildDepsOnly = same;
          buildPackage = same;
          cargoClippy = same;
          cargoTest = same;
          cargoFmt = same;
        };
      };
    in
    {
      sources = toString asked.seance.src;
      dummy = asked.seance.cargoArtifacts.extraDummyScript;
    };
  # flake.nix itself, with the checkouts in the place of its inputs.
  flake =
    let
      self = outputs // {
        outPath = toString ../..;
      };
      outputs = (import ../../flake.nix).outputs {
        inherit self;
        nixpkgs = {
          lib = lib // {
            nixosSystem =
              arguments:
              import (nixpkgs + "/nixos/lib/eval-config.nix") {
                inherit lib;
                system = null;
                modules = [
                  {
                    nixpkgs.pkgs = pkgs;
                    system.stateVersion = lib.mkForce lib.trivial.release;
                  }
                ]
                ++ arguments.modules;
              };
          };
          legacyPackages = lib.genAttrs [
            "x86_64-linux"
            "aarch64-linux"
            "x86_64-darwin"
            "aarch64-darwin"
          ] (_: pkgs);
        };
        disko.nixosModules.disko = disko + "/module.nix";
        sops-nix.nixosModules.sops = if sops-nix == null then { } else sops-nix + "/modules/sops";
        inherit nixos-anywhere;
        crane.mkLib = _: {
          buildDepsOnly = lib.id;
          buildPackage = _: seance;
        };
      };
      template = (import ../../nix/templates/default/flake.nix).outputs { seance = outputs; };
      # Whose program is the list of the programs that the app finds.
      asked = import ../../nix/apps.nix {
        inherit nixos-anywhere;
        pkgs = pkgs // {
          writeShellApplication =
            { runtimeInputs, ... }:
            seance
            // {
              meta.mainProgram = lib.concatMapStringsSep " " (p: p.meta.mainProgram or (lib.getName p)) runtimeInputs;
            };
        };
      };
    in
    {
      outputs = lib.attrNames outputs;
      droplet = outputs.nixosConfigurations.seance-backend.config.system.build.toplevel.drvPath;
      ofTemplate = template.nixosConfigurations.seance-backend.config.system.build.toplevel.drvPath;
      # The package of the module is the flake's own: there is no `pkgs.seance`.
      package = outputs.nixosConfigurations.seance-backend.config.services.seance.package.name;
      programs = lib.mapAttrs (_: app: lib.splitString " " (baseNameOf app.program)) asked;
      install = outputs.apps.aarch64-darwin.install.program;
      switch = outputs.apps.aarch64-darwin.switch.program;
      shell = outputs.devShells.aarch64-darwin.default.drvPath;
    };
  # The tests of whole machines, as far as they can be evaluated without running one.
  vm = lib.mapAttrs (
    file: _:
    let
      test = import (../../nix/vm + "/${file}") { module = ../../nix/module.nix; };
      node = lib.head (lib.attrValues (removeAttrs test.nodes [ "acme" "client" ]));
      # What it asks of the other machines; they run no seance.
      other = {
        networking.primaryIPAddress = "192.0.2.1";
        test-support.acme.caCert = builtins.toFile "ca.pem" "a certificate, which is public";
      };
    in
    {
      inherit (test) name;
      failed =
        failed
          (nixos [
            least
            node
            { _module.args.nodes = lib.mapAttrs (_: _: other) test.nodes; }
          ]).config;
    }
  ) (builtins.readDir ../../nix/vm);
  # devenv.nix in devenv's own modules, with each of its profiles.
  devenv =
    let
      evaluated =
        extra:
        (lib.evalModules {
          modules = [
            (devenv + "/src/modules/top-level.nix")
            ../../devenv.nix
            {
              devenv.root = "/project";
              devenv.dotfile = "/project/.devenv";
              devenv.state = "/project/.devenv/state";
              devenv.runtime = "/run/devenv";
              devenv.tmpdir = "/run";
              devenv.cli.version = lib.mkDefault null;
            }
          ]
          ++ extra;
          specialArgs = {
            inherit pkgs;
            inputs = { };
          };
        }).config;
      profile = name: evaluated [ (evaluated [ ]).profiles.${name}.module ];
      seen = config: {
        processes = lib.attrNames config.processes;
        inherit (config.processes.seance) exec env;
        garage = config.services.garage.afterStart;
        nats = config.processes.nats.ports.main.value or null;
        watch = map toString config.processes.seance.watch.paths;
        toml = toml config.seance.settings;
      };
    in
    {
      default = seen (evaluated [ ]) // {
        packages = map lib.getName (import ../../devenv.nix { inherit lib pkgs; config = { }; }).config.packages;
      };
    }
    // lib.genAttrs [ "prod" "s3" "postgres" "nats" ] (name: seen (profile name));
  inherit nixos least pkgs lib;
}
