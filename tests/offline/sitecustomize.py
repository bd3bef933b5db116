"""Put this folder on PYTHONPATH and no process under it reaches beyond the machine it runs on."""

import sys
from ipaddress import ip_address


def is_local(host: object) -> bool:
    """Whether ``host``, as given to a socket call, stays on this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ip_address(str(name).split("%")[0]).is_loopback
    except ValueError:
        return False


def refuse_other_hosts(event: str, args: tuple) -> None:
    """An audit hook: it cannot be removed again, and sees calls from C extensions that use sockets."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]  # a string for Unix sockets, None for a connected one
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = args[0]
    else:
        return
    if not is_local(host):
        raise OSError(f"{event} to {host!r}: the network is cut")


sys.addaudithook(refuse_other_hosts)
