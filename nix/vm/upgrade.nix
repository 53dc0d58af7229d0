# What a switch does: a changed configuration reloads, changed listeners move, nobody is refused meanwhile.
{ module }:
{
  name = "seance-upgrade";
  nodes.machine =
    { lib, ... }:
    {
      imports = [ module ];
      services.seance.enable = true;
      specialisation = {
        quieter.configuration.services.seance.settings.log.filter = "warn";
        moved.configuration.services.seance.settings.http.listen = [ "127.0.0.1:3001" ];
        restarted.configuration.services.seance.settings.audit.keep_days = 30;
      };
    };
  testScript = ''
    def switch(name):
        machine.succeed(f"/run/booted-system/specialisation/{name}/bin/switch-to-configuration test")

    def process():
        return machine.succeed("systemctl show -P MainPID seance-backend").strip()

    machine.wait_for_unit("seance-backend.service")

    with subtest("a changed log filter reloads"):
        before = process()
        switch("quieter")
        assert process() == before

    with subtest("a bad configuration fails the reload, and the old one is served"):
        before = process()
        machine.succeed("mv /etc/seance/config.toml /tmp/ && echo 'htp = 1' >/etc/seance/config.toml")
        machine.fail("systemctl reload seance-backend")
        machine.succeed("mv /tmp/config.toml /etc/seance/ && curl -fsS http://127.0.0.1:3000/health/ready")
        machine.succeed("systemctl reload seance-backend")
        assert process() == before

    with subtest("an option that needs a restart restarts, and refuses nobody"):
        machine.succeed("systemd-run --unit=load sh -c 'while :; do curl -fsS http://127.0.0.1:3000/health/live || exit 1; done'")
        before = process()
        switch("restarted")
        assert process() != before
        machine.succeed("systemctl is-active load")
        machine.succeed("systemctl stop load")

    with subtest("a changed address moves the socket"):
        switch("moved")
        machine.succeed("curl -fsS http://127.0.0.1:3001/health/ready")
        machine.fail("curl -fsS http://127.0.0.1:3000/health/ready")
  '';
}
