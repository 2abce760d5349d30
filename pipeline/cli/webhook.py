"""``mmkgc webhook``: MLflow tells a server at once that the alias of its model has moved."""

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from mmkgc.components.runtime import extras
from mmkgc.components.runtime.errors import UserError, printable
from mmkgc.components.runtime.quoting import is_http_url, masked

if TYPE_CHECKING:
    from mlflow import MlflowClient

EVENT: Any = "model_version_alias.created"  # also sent where the alias was at another version
NAME = "mmkgc"
LOCAL = "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https and MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true"


@click.group()
def webhook() -> None:
    """Let MLflow's server tell `mmkgc serve` at once that an alias has moved.

    Without it, `mmkgc serve` looks at the registry every five seconds, which goes on beside it.
    """


@webhook.command()
@click.argument("url")
@click.option("--name", default=NAME, show_default=True, help="Of the webhook in MLflow; one of this name is changed.")
def add(url: str, name: str) -> None:
    """Register the server at URL with MLflow, and let MLflow send it a test message.

    \b
      mmkgc webhook add https://kg.example.org
      mmkgc webhook add http://127.0.0.1:8080      MLflow's server must allow http and private addresses

    The messages are signed with the secret in MMKGC_WEBHOOK_SECRET or $MMKGC_HOME/webhook-secret, which is made once;
    `mmkgc serve` has to have the same. MLflow's server stores it encrypted with MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY;
    without this variable it cannot read it any more after a restart.
    """
    from mlflow.exceptions import MlflowException

    from mmkgc.serving.api.gateway.hook import PATH
    from mmkgc.serving.api.gateway.settings import own_webhook_secret

    if not is_http_url(url):
        raise UserError(url, "this is not the URL of a server", "write https://HOST[:PORT], as `mmkgc serve` prints it")
    target = url if urlsplit(url).path.strip("/") else url.rstrip("/") + PATH
    api, secret = _client(), own_webhook_secret()
    told: dict[str, Any] = {
        "url": target,
        "events": [EVENT],
        "secret": secret,
        "description": "mmkgc serve looks at the registry",
    }
    try:
        found = _named(api, name)
        made = api.update_webhook(found.webhook_id, **told) if found else api.create_webhook(name, **told)
    except MlflowException as error:
        mend = f"for a server on this machine or a private network, start MLflow's with {LOCAL}"
        raise UserError(f"MLflow at {masked(api.tracking_uri)}", error.message, mend) from error
    click.echo(f"{printable(name)}  {printable(target)}")
    _try(api, made.webhook_id)


@webhook.command("list")
def list_() -> None:
    """Show the webhooks of MLflow's server that react to aliases."""
    for hook in _all(_client()):
        click.echo(f"{printable(hook.name)}  {printable(hook.url)}  {hook.status}")


@webhook.command()
@click.option("--name", default=NAME, show_default=True)
def test(name: str) -> None:
    """Let MLflow send a test message."""
    api = _client()
    _try(api, _existing(api, name).webhook_id)


@webhook.command()
@click.option("--name", default=NAME, show_default=True)
def remove(name: str) -> None:
    """Remove the webhook from MLflow's server."""
    api = _client()
    api.delete_webhook(_existing(api, name).webhook_id)
    click.echo(f"{printable(name)} removed")


def _client() -> "MlflowClient":
    extras.need("mlflow")
    from mmkgc.components.runtime import tracking
    from mmkgc.components.runtime.settings import Settings

    uri = Settings.from_env().tracking_uri
    if not is_http_url(uri):
        mend = "there is nothing to do: `mmkgc serve` looks at it every five seconds"
        raise UserError(masked(uri), "webhooks are sent by an MLflow server, and this is a database", mend)
    return tracking.client()


def _all(api: "MlflowClient") -> list[Any]:
    from mmkgc.components.runtime import tracking

    hooks = tracking.pages(api.list_webhooks)
    return [hook for hook in hooks if any(str(event) == EVENT for event in hook.events)]


def _named(api: "MlflowClient", name: str) -> Any:
    return next((hook for hook in _all(api) if hook.name == name), None)


def _existing(api: "MlflowClient", name: str) -> Any:
    found = _named(api, name)
    if found is None:
        names = ", ".join(hook.name for hook in _all(api))
        raise UserError(name, "no such webhook", f"there are: {names}" if names else "make it: mmkgc webhook add URL")
    return found


def _try(api: "MlflowClient", webhook_id: str) -> None:
    """Send a test message; ends with code 1 if it does not arrive."""
    result = api.test_webhook(webhook_id)
    if result.success:
        click.echo("a test message arrived")
        return
    reason = result.error_message or f"the server answered {result.response_status}: {result.response_body}"
    click.echo(f"the test message was not taken: {printable(str(reason))[:500]}", err=True)
    click.echo("is `mmkgc serve` at work there, with the same secret? then: mmkgc webhook test", err=True)
    sys.exit(1)
