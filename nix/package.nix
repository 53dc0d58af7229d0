# The program and its checks by crane: the dependencies are built once and shared by all of them.
{ pkgs, crane }:
let
  inherit (pkgs) lib;
  craneLib = crane.mkLib pkgs;
  root = ../.;

  # Only what the compiler and the tests read: a changed README builds nothing.
  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../src
      ../nix/seance.catalog
      ../nix/clippy.toml
      ../nix/link.rs
      (lib.fileset.maybeMissing ../.cargo)
    ];
  };
  testSrc = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.gitTracked root;
  };

  common = {
    inherit src;
    strictDeps = true;
    # aws-lc-sys builds C.
    nativeBuildInputs = [ pkgs.cmake ];
    env.CLIPPY_CONF_DIR = "nix";
  };
  cargoArtifacts = craneLib.buildDepsOnly (
    common
    // {
      doCheck = false;
      # Read by the build script of a dependency (.cargo/config.toml), so it has to be there before ours are.
      extraDummyScript = ''
        mkdir -p $out/src/api/docs
        cp -r --no-preserve=mode ${../src/api/docs/unused} $out/src/api/docs/unused
      '';
    }
  );
in
{
  seance = craneLib.buildPackage (
    common
    // {
      inherit cargoArtifacts;
      # The tests drive the built program; they are a check of their own.
      doCheck = false;
      postInstall = ''
        install -Dm444 nix/seance.catalog $out/lib/systemd/catalog/seance.catalog
      '';
      meta = {
        description = "The whole back end of a small product team in one binary";
        license = lib.licenses.mit;
        mainProgram = "seance";
        platforms = lib.platforms.linux;
      };
    }
  );

  clippy = craneLib.cargoClippy (
    common
    // {
      inherit cargoArtifacts;
      src = testSrc;
      cargoClippyExtraArgs = "--all-targets -- --deny warnings";
    }
  );

  tests = craneLib.cargoTest (
    common
    // {
      inherit cargoArtifacts;
      src = testSrc;
    }
  );

  format = craneLib.cargoFmt { src = testSrc; };
}
