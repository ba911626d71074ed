"""Create the keys and passwords of the compose files, once, in `secrets/` (ignored by git).

    secrets/keys/keys.toml   API keys, hashed: `operator` (everything), `prometheus` (metrics)
    secrets/metrics-key      the API key that Prometheus sends
    secrets/jobs.env         database and object store, as the servers' environment
    secrets/webhook.env      the secret that signs webhooks
    secrets/postgres-password, secrets/s3.json, secrets/grafana-password

Needs only Python, for machines with nothing but Docker. The operator's key is printed and not
stored. Every user may read the files, because each container runs as a different user; only the
owner may open the folder, and Docker, as root, mounts the files. An existing folder is left
unchanged: to change one secret, see operations.md.

    python make_secrets.py [FOLDER]
"""

import hashlib
import json
import secrets
import sys
from pathlib import Path


def make_secrets(folder: Path) -> str:
    """Write all files; return the operator's key.

    Raises:
        FileExistsError: the folder exists.
    """
    folder.mkdir(mode=0o700)
    operator, metrics = make_key(), make_key()
    database, store_id, store = (secrets.token_hex(24) for _ in range(3))
    identity = {
        "name": "mt3",
        "credentials": [{"accessKey": store_id, "secretKey": store}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    environment = {
        "MT3_DATABASE_URL": f"postgresql://mt3:{database}@database:5432/mt3",
        "AWS_ACCESS_KEY_ID": store_id,
        "AWS_SECRET_ACCESS_KEY": store,
    }
    (folder / "keys").mkdir(mode=0o755)
    keys = [
        describe_key("operator", operator, ["transcribe", "jobs", "metrics"]),
        describe_key("prometheus", metrics, ["metrics"]),
    ]
    write(folder / "keys" / "keys.toml", "\n".join(keys))
    write(folder / "metrics-key", metrics)
    write(folder / "jobs.env", "".join(f"{name}={of}\n" for name, of in environment.items()))
    write(folder / "webhook.env", f"MT3_WEBHOOK_SECRET={secrets.token_hex(32)}\n")
    write(folder / "postgres-password", database)
    write(folder / "s3.json", json.dumps({"identities": [identity]}))
    write(folder / "grafana-password", secrets.token_urlsafe(18))
    return operator


def make_key() -> str:
    """Return a random key of 256 bits, like those of `mt3 keys new`."""
    return f"mt3_{secrets.token_urlsafe(32)}"


def describe_key(name: str, key: str, scopes: list[str]) -> str:
    """Return an entry of a key file."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f'[[keys]]\nname = "{name}"\nsha256 = "{digest}"\nscopes = {json.dumps(scopes)}\n'


def write(path: Path, text: str) -> None:
    """Write a file that the containers' users can read, whatever the umask."""
    path.write_text(text)
    path.chmod(0o644)
    path.parent.chmod(0o755 if path.parent.name == "keys" else 0o700)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "secrets"
    try:
        key = make_secrets(target)
    except FileExistsError:
        sys.exit(f"{target} exists already; nothing was changed")
    print(f"secrets are in {target}; the key of the caller `operator`, shown only once:\n{key}")
