"""The contestants of tools/bench in one form each: kerbside, haproxy, nginx, hitch, stunnel, squid, and
no proxy at all. Each runs on the proxy's CPU with one loop, thread or worker, in front of one or more
back ends; `doors` are where its clients come in, one a back end."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import rig
from common.process import LabError, Process, wait_until
from lab.kerbside import Kerbside, source
from lab.net import Port

SUBJECT = "CN=proxy.bench"


@dataclass
class Door:
    port: int
    ticket: str = rig.TICKET
    through: int = 0  # what a proxy that is asked to CONNECT is asked for


class Proxy:
    """What a run needs of a proxy: its doors, and its process."""

    name = ""
    package = ""  # Debian's, besides those of tools/setup
    doors: list[Door]
    pid = 0
    ca_file: Path
    subject = SUBJECT

    def cpu(self) -> float:
        """Seconds of CPU so far, all threads, also ended ones."""
        return time.clock_gettime((~self.pid << 3) | 2)  # clock_getcpuclockid's own formula

    def memory(self) -> int:
        """Bytes of memory of its own share (Pss), once they no longer change."""
        last, end = -1, time.monotonic() + 20
        while time.monotonic() < end:
            now = self.memory_now()
            if now == last:
                break
            last = now
            time.sleep(0.5)
        return last

    def memory_now(self) -> int:
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines()
                    if line.startswith("Pss:")) * 1024

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @classmethod
    def can(cls, tls: bool) -> bool:
        """Whether it does this job: TLS towards the back end, or not."""
        return True

    def stop(self):
        pass


class KerbsideProxy(Proxy):
    name = "kerbside"
    settings: dict = {}

    def __init__(self, scratch: Path, backs, pki):
        consoles = [{"uuid": f"{rig.UUID[:-1]}{n}", "name": f"bench {n}",
                     "hypervisor": "hypervisor.bench", "hypervisor_ip": "127.0.0.1",
                     "ticket": rig.TICKET,
                     **({"secure_port": back.port, "host_subject": rig.SUBJECT} if back.tls
                        else {"insecure_port": back.port})}
                    for n, back in enumerate(backs)]
        more = {"tls": "require", "ca_cert": pki.ca_pem} if backs[0].tls else {"tls": "plain"}
        self.daemon = Kerbside(scratch, [source("lab", consoles, **more)],
                               settings={"node": {"loops": 1}, **self.settings},
                               enter=rig.pinned(rig.PROXY_CPU))
        self.pid = self.daemon.process.pid
        self.doors = []
        for console in consoles:
            vv = self.daemon.vv("lab", console["uuid"], reusable=True, start_within="12h")
            values = dict(line.split("=", 1) for line in vv.read_text().splitlines() if "=" in line)
            self.doors.append(Door(self.daemon.port, values["password"]))
        self.subject = values["host-subject"]
        self.ca_file = scratch / "ca-of-kerbside.pem"
        self.ca_file.write_text(values["ca"].replace("\\n", "\n"))

    def stop(self):
        self.daemon.stop()


class PoliciesProxy(KerbsideProxy):
    """With everything governed that can be, in the strictest way that lets the load pass."""

    name = "policies"
    settings = {"policies": {"default": {
        "clipboard": {"out": False, "text_only": True, "max_bytes": "64KiB", "primary": False},
        "files": {"max_size": "10MB", "names": ["*.pdf", "!x*"]},
        "folders": "read_only",
        "usb": {"filter": "0x08,-1,-1,-1,0|-1,-1,-1,-1,1", "keyboards": False},
        "microphone": False, "smartcard": False, "ports": ["org.test.*", "!*monitor*"],
        "resize": False, "screens": 16, "view_only": False, "bandwidth": "10GB",
        "hours": {"open": "mon-sun 00:00-24:00"}, "idle_timeout": "10h", "max_session": "10h",
    }}}


class ForeignProxy(Proxy):
    """Another's program: a configuration, a process, a port a back end."""

    program = ""

    def __init__(self, scratch: Path, backs, pki):
        scratch.mkdir(parents=True)
        self._ports = [Port() for _ in backs]
        self.doors = [Door(port.number) for port in self._ports]
        self.ca_file = pki.ca_file
        config = scratch / f"{self.name}.conf"
        config.write_text(self.configuration(scratch, backs, pki))
        program = shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        self._process = Process([program, *self.arguments(config)], log=scratch / "log",
                                enter=rig.pinned(rig.PROXY_CPU))
        wait_until(self._listens, f"{self.name} listens", explain=self._process.log)
        self.pid = self.worker()

    def configuration(self, scratch: Path, backs, pki) -> str:
        raise NotImplementedError

    def arguments(self, config: Path) -> list:
        raise NotImplementedError

    def worker(self) -> int:
        """The process that does the work."""
        return self._process.pid

    def _listens(self) -> bool:
        if not self._process.alive:
            raise LabError(f"{self.name} ended\n{self._process.log()}")
        table = Path(f"/proc/{self._process.pid}/net/tcp").read_text()
        return all(f"0100007F:{door.port:04X} 00000000:0000 0A" in table for door in self.doors)

    def stop(self):
        self._process.stop()
        for port in self._ports:
            port.release()


class HaproxyProxy(ForeignProxy):
    name = program = package = "haproxy"

    def configuration(self, scratch, backs, pki):
        verify = f" ssl verify required ca-file {pki.ca_file}" if backs[0].tls else ""
        listens = "".join(f"""listen bench{n}
    bind 127.0.0.1:{self.doors[n].port} ssl crt {pki.front_pem}
    server back 127.0.0.1:{back.port}{verify}
""" for n, back in enumerate(backs))
        return f"""global
    nbthread 1
    maxconn 9700
defaults
    mode tcp
    maxconn 9700
    timeout connect 30s
    timeout client 1h
    timeout server 1h
{listens}"""

    def arguments(self, config):
        return ["-db", "-f", config]


class NginxProxy(ForeignProxy):
    """Its stream module; one process, the worker itself."""

    name = program = "nginx"
    package = "libnginx-mod-stream"

    def configuration(self, scratch, backs, pki):
        onward = f"""proxy_ssl on; proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {pki.ca_file};
        proxy_ssl_name localhost;""" if backs[0].tls else ""
        servers = "".join(f"""    server {{
        listen 127.0.0.1:{self.doors[n].port} ssl;
        proxy_pass 127.0.0.1:{back.port};
        {onward}
    }}
""" for n, back in enumerate(backs))
        return f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid {scratch}/pid;
error_log {scratch}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
stream {{
    ssl_certificate {pki.front}/server-cert.pem;
    ssl_certificate_key {pki.front}/server-key.pem;
    ssl_protocols TLSv1.3;
    proxy_timeout 1h;
{servers}}}
"""

    def arguments(self, config):
        return ["-c", config, "-p", config.parent, "-e", config.parent / "error.log"]


class HitchProxy(ForeignProxy):
    """One worker below a process that does nothing; plain towards the one back end."""

    name = program = package = "hitch"

    @classmethod
    def can(cls, tls):
        return not tls

    def configuration(self, scratch, backs, pki):
        user = 'user = "nobody"\ngroup = "nogroup"\n' if os.geteuid() == 0 else ""  # it insists
        return f"""{user}frontend = "[127.0.0.1]:{self.doors[0].port}"
backend = "[127.0.0.1]:{backs[0].port}"
pem-file = "{pki.front_pem}"
workers = 1
daemon = off
tls-protos = TLSv1.3
"""

    def arguments(self, config):
        return [f"--config={config}"]

    def worker(self):
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(wait_until(lambda: children.read_text().split(), "hitch's worker")[0])


class StunnelProxy(ForeignProxy):
    """A thread a connection; plain towards the back end."""

    name = program = "stunnel"
    package = "stunnel4"

    @classmethod
    def can(cls, tls):
        return not tls

    def configuration(self, scratch, backs, pki):
        services = "".join(f"""[bench{n}]
accept = 127.0.0.1:{self.doors[n].port}
connect = 127.0.0.1:{back.port}
""" for n, back in enumerate(backs))
        return f"""foreground = yes
pid =
debug = err
syslog = no
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
sslVersionMin = TLSv1.3
cert = {pki.front_pem}
{services}"""

    def arguments(self, config):
        return [config]


class SquidProxy(ForeignProxy):
    """What sites give remote-viewer today: CONNECT, and TLS passes through to the back end unread.
    It does not decipher, so its job is a lesser one."""

    name = program = package = "squid"

    @classmethod
    def can(cls, tls):
        return tls

    def configuration(self, scratch, backs, pki):
        for door, back in zip(self.doors, backs):
            door.through = back.port
        scratch.chmod(0o777)  # it gives up being root
        ports = "\n".join(f"http_port 127.0.0.1:{door.port}" for door in self.doors)
        return f"""{ports}
http_access allow all
cache deny all
access_log none
cache_log {scratch}/cache.log
pid_filename none
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 20000
coredump_dir {scratch}
"""

    def arguments(self, config):
        return ["-N", "-f", config]


class Direct(Proxy):
    """No proxy at all: what the machine itself costs."""

    name = "direct"
    subject = rig.SUBJECT

    def __init__(self, scratch: Path, backs, pki):
        self.doors = [Door(back.port) for back in backs]
        self.ca_file = pki.ca_file


# All who terminate TLS or carry it, besides the controls.
ALL = (KerbsideProxy, HaproxyProxy, NginxProxy, HitchProxy, StunnelProxy, SquidProxy)
