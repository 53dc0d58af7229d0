# A machine boots, the sockets are there, a release is deployed and served, the journal explains itself.
{ module }:
{
  name = "seance-boot";
  nodes.machine = {
    imports = [ module ];
    services.seance = {
      enable = true;
      settings.apps.default.builder_key_hashes = [
        # of "secret"
        "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
      ];
    };
  };
  testScript = ''
    machine.wait_for_unit("seance-backend.service")
    machine.succeed("systemctl status seance.service")
    machine.succeed("curl -fsS http://127.0.0.1:3000/health/ready")
    machine.succeed(
        "curl -fsS http://127.0.0.1:3000/deploy -H 'X-Builder-Key: secret' -H 'Content-Type: application/json'"
        " -d '{\"files\":[{\"path\":\"releases/version.json\",\"content\":\"e30=\"}]}'"
    )
    assert machine.succeed("curl -fsS http://127.0.0.1:3000/updates/version.json") == "{}"
    machine.wait_for_unit("seance-catalog.service")
    machine.succeed("journalctl -u seance-backend -x | grep 'seance is ready'")

    with subtest("a restart refuses nobody"):
        machine.succeed(
            "for i in $(seq 20); do curl -fsS http://127.0.0.1:3000/health/live || exit 1; done & "
            "systemctl restart seance-backend && wait $!"
        )

    with subtest("what was deployed is there after a reboot"):
        machine.shutdown()
        machine.start()
        machine.wait_for_unit("seance-backend.service")
        assert machine.succeed("curl -fsS http://127.0.0.1:3000/updates/version.json") == "{}"

    with subtest("the hardening is in force"):
        machine.succeed("systemd-analyze security --threshold=11 seance-backend.service")
  '';
}
