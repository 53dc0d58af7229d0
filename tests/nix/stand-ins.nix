# Packages for an evaluation without a package set: each is a derivation that would build nothing. `names` are all words
# of NixOS's modules, collected by tests/nix/run: whatever they ask for is among them.
{
  lib,
  names,
  system,
}:
let
  package =
    name:
    let
      self = derivation {
        name = "${name}-999";
        inherit system;
        builder = "/bin/sh";
        args = [
          "-c"
          "exit 1"
        ];
      };
    in
    self
    // {
      pname = name;
      version = "999";
      meta = {
        mainProgram = name;
        platforms = lib.platforms.all;
        license = [ ];
      };
      passthru = { };
      out = package name;
      bin = package name;
      dev = package name;
      lib = package name;
      man = package name;
      doc = package name;
      info = package name;
      terminfo = package name;
      guest = package name;
      su = package name;
      mount = package name;
      login = package name;
      sftp = package name;
      util-linux = package "util-linux";
      kmod = package "kmod";
      kbd = package "kbd";
      p11kit = package name;
      unwrapped = package name;
      libs = package name;
      devices = [ ];
      enabledCryptSchemeIds = [ "y" ];
      target = "bzImage";
      outputs = [ "out" ];
      # Functions that make packages, unless they are named below.
      __functor = _: _: package name;
      override = _: package name;
      overrideAttrs = _: package name;
      overrideDerivation = _: package name;
      withPackages = _: package name;
      extend = _: package name;
      # What some modules ask of particular packages.
      compressorExecutableFunction = _: "compressor";
      compressor = "compressor";
      compressorArgs = [ ];
      shellPath = "/bin/${name}";
      features = { };
      config = {
        isSet = _: true;
        isYes = _: true;
        isNo = _: false;
        isEnabled = _: true;
        isDisabled = _: false;
      };
      kernelOlder = _: false;
      kernelAtLeast = _: true;
      modDirVersion = "999";
      isLibre = false;
      isHardened = false;
      isZen = false;
      extraMakeFlags = [ ];
      kernel = package name;
      interfaceVersion = 2;
      withEfi = true;
      withLogind = true;
      withTimesyncd = true;
      withNetworkd = true;
      withHostnamed = true;
      withTimedated = true;
      withLocaled = true;
      withMachined = true;
      withPortabled = true;
      withCryptsetup = true;
      withHomed = true;
      withSysupdate = true;
      withTpm2Tss = true;
      withUtmp = true;
      withImportd = true;
      withOomd = true;
      withCoredump = true;
      withRepart = true;
      withNspawn = true;
      withUkify = true;
      withBootloader = true;
      withDebug = false;
    };
  text =
    name: content:
    package name
    // derivation {
      name = lib.strings.sanitizeDerivationName name;
      inherit system;
      builder = "/bin/sh";
      text = content;
    }
    // {
      overrideAttrs = _: text name content;
      override = _: text name content;
    };
  # `with lib; … with pkgs;` has to find the functions of lib.
  packages = removeAttrs (lib.genAttrs names package) (lib.attrNames lib);
  # NixOS calls what describes the platform's kernel by different names over the years.
  platform = { linux-kernel.target = "bzImage"; } // lib.systems.elaborate system;
  pkgs =
    packages
    // lib.genAttrs [
      "haskellPackages"
      "perlPackages"
      "python3Packages"
      "unixtools"
      "xorg"
    ] (_: packages)
    // {
      _type = "pkgs";
      inherit lib system;
      stdenv = {
        hostPlatform = platform;
        buildPlatform = platform;
        targetPlatform = platform;
        isLinux = true;
        isDarwin = false;
        cc = package "cc" // {
          libc = package "libc";
        };
        inherit system;
        inherit (platform)
          isx86_64
          isAarch64
          is64bit
          isi686
          ;
        mkDerivation =
          arguments:
          let
            known = if lib.isFunction arguments then arguments known else arguments;
          in
          # All of it, so that an error anywhere in a system shows in its drvPath.
          text (known.pname or known.name or "unnamed") (
            builtins.toJSON (
              removeAttrs known [
                "meta"
                "passthru"
              ]
            )
          );
      };
      stdenvNoCC = pkgs.stdenv;
      hostPlatform = platform;
      buildPlatform = platform;
      config = {
        allowUnfree = false;
        permittedInsecurePackages = [ ];
      };
      overlays = [ ];
      appendOverlays = _: pkgs;
      extend = _: pkgs;
      __splicedPackages = pkgs;
      buildPackages = pkgs;
      pkgsBuildBuild = pkgs;
      pkgsBuildHost = pkgs;
      pkgsHostTarget = pkgs;
      targetPackages = pkgs;
      pkgsi686Linux = pkgs;
      pkgsMusl = pkgs;
      pkgsStatic = pkgs;
      callPackage = _: _: package "called";
      callPackages = _: _: { };
      newScope = _: _: _: package "called";
      runtimeShell = "/bin/sh";
      glibcLocales = package "glibc-locales";
      linuxPackages = packages // {
        kernel = package "linux";
        inherit (pkgs) stdenv;
        extend = _: pkgs.linuxPackages;
      };
      linuxPackagesFor = _: pkgs.linuxPackages;
      linuxKernel = {
        packages = { };
        packagesFor = _: pkgs.linuxPackages;
      };
      # As in nixpkgs, whose package has another program than its name says until it is told not to.
      nixos-rebuild-ng = package "nixos-rebuild-ng" // {
        override =
          arguments: package (if arguments.withNgSuffix then "nixos-rebuild-ng" else "nixos-rebuild");
      };
      perl = package "perl" // {
        withPackages = _: package "perl";
      };
      nixos-artwork.wallpapers.simple-dark-gray-bootloader = package "wallpaper" // {
        gnomeFilePath = "/";
      };
      writeText = text;
      writeTextFile = { name, text, ... }: pkgs.writeText name text;
      writeTextDir = path: text (baseNameOf path);
      writeScript = text;
      writeScriptBin = text;
      writeShellScript = text;
      writeShellScriptBin = text;
      writeShellApplication = { name, text, ... }: pkgs.writeText name text;
      writers = {
        makeScriptWriter = _: text;
        writeBash = text;
        writeBashBin = text;
        writePython3 = name: _: text name;
      };
      concatTextFile = { name, ... }: package name;
      runCommand = name: arguments: text name;
      runCommandLocal = name: arguments: text name;
      runCommandCC = name: arguments: text name;
      symlinkJoin = { name, ... }: package name;
      buildEnv = { name, ... }: package name;
      linkFarm = name: _: package name;
      closureInfo = _: package "closure-info";
      makeInitrd = _: package "initrd";
      makeInitrdNG = _: package "initrd";
      makeModulesClosure = _: package "modules";
      makeWrapper = package "make-wrapper";
      replaceVars = path: _: package (baseNameOf path);
      substituteAll = arguments: package (baseNameOf (toString arguments.src));
      nixosTest = _: package "nixos-test";
      requireFile = { name, ... }: package name;
      fetchurl = arguments: package (arguments.name or "fetched");
      fetchFromGitHub = _: package "fetched";
      formats = lib.genAttrs [ "toml" "json" "yaml" "ini" "keyValue" "iniWithGlobalSection" "systemd" ] (
        format: _: {
          type =
            with lib.types;
            let
              value =
                nullOr (oneOf [
                  bool
                  int
                  float
                  str
                  path
                  (attrsOf value)
                  (listOf value)
                ])
                // {
                  description = "${format} value";
                };
            in
            value;
          generate = name: value: text name (builtins.toJSON value);
          lib = { };
        }
      );
    };
in
pkgs
