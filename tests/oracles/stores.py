"""Stores on the loopback: moto's S3 and an emulator of Google's, which know no clouds.

`python -m tests.oracles.stores s3` serves one until it is killed, and prints its environment.
"""

import contextlib
import importlib.util
import json
import logging
import sys
import threading
from http import HTTPStatus

NEEDED = {"s3": ("moto", "flask_cors", "s3fs"), "gs": ("gcp_storage_emulator", "gcsfs")}
BUCKET = "bucket"


def missing(scheme):
    """Packages that are not installed."""
    return [name for name in NEEDED[scheme] if importlib.util.find_spec(name) is None]


@contextlib.contextmanager
def serving(scheme):
    """A store with an empty bucket; the environment of processes that are to use it."""
    with {"s3": _s3, "gs": _gs}[scheme]() as environment:
        yield environment


@contextlib.contextmanager
def _s3():
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    client.create_bucket(Bucket=BUCKET)
    try:
        yield {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1", **keys}
    finally:
        server.stop()


@contextlib.contextmanager
def _gs():
    from gcp_storage_emulator import server as emulator
    from gcp_storage_emulator.handlers import objects

    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    _add_conditions(objects)
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    server._api._httpd.handle_error = lambda *arguments: None  # of clients that hang up
    url = f"http://127.0.0.1:{server._api._httpd.server_address[1]}"
    names = ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL")
    try:
        yield {**dict.fromkeys(names, url), "GOOGLE_CLOUD_PROJECT": "any"}
    finally:
        server.stop()


def _add_conditions(objects):
    """Gives the emulator what it lacks: writes on a generation, which reads tell in a header."""
    if getattr(objects, "conditional", False):
        return
    objects.conditional = True
    upload, download = objects._media_upload, objects.download

    def generation(storage, bucket, name):
        try:
            return str(storage.get_file_obj(bucket, name).get("generation", 1))
        except objects.NotFound:
            return "0"

    def conditional(request, response, storage):
        wanted = request.query.get("ifGenerationMatch")
        name = request.query["name"][0]
        if wanted and wanted[0] != generation(storage, request.params["bucket_name"], name):
            response.status = HTTPStatus.PRECONDITION_FAILED
            return None
        return upload(request, response, storage)

    def told(request, response, storage, *args, **kwargs):
        where = request.params["bucket_name"], request.params["object_id"]
        response["x-goog-generation"] = generation(storage, *where)
        return download(request, response, storage, *args, **kwargs)

    objects._media_upload, objects.download = conditional, told


if __name__ == "__main__":
    with serving(sys.argv[1]) as found:
        print(json.dumps(found), flush=True)
        threading.Event().wait()
