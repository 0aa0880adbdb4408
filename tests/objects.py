"""An S3 server for the tests, moto's, which speaks HTTP on loopback; and fresh buckets on it."""

import datetime
import logging
import os
import warnings
from itertools import count

_running = None
_numbers = count(1)


def server():
    """The server's URL. From then on the ``AWS_*`` variables of this process, and of those it starts, lead there."""
    global _running
    if _running is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from moto.server import ThreadedMotoServer

            _running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
            _running.start()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        host, port = _running.get_host_and_port()
        os.environ.update(
            AWS_ENDPOINT_URL=f"http://{host}:{port}",
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing-secret",
            AWS_DEFAULT_REGION="us-east-1",
        )
    return os.environ["AWS_ENDPOINT_URL"]


def bucket():
    """The ``s3://`` URL of a prefix in a new bucket."""
    server()
    name = f"bucket-{next(_numbers)}"
    _backend().create_bucket(name, "us-east-1")
    return f"s3://{name}/some/prefix"


def keys(url):
    """What is in a bucket's prefix, by the server's own account."""
    name, prefix = _parts(url)
    return sorted(key.removeprefix(prefix) for key in _backend().buckets[name].keys)


def uploads(url):
    """Multipart uploads that were neither completed nor aborted."""
    return list(_backend().buckets[_parts(url)[0]].multiparts)


def age(url, key, seconds):
    """Makes an object look as if it had been written at a time (seconds since 1970)."""
    name, prefix = _parts(url)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)
    _backend().buckets[name].keys[prefix + key].last_modified = moment


def _parts(url):
    name, _, prefix = url.removeprefix("s3://").partition("/")
    return name, prefix + "/"


def _backend():
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
