"""Where a remote is, how to log in there, and how hard it may be pressed."""
from __future__ import annotations

from typing import Literal

from pydantic import Field

from s3_sync.config import identity
from s3_sync.config.fields import Count, Model, PositiveSize, Text
from s3_sync.config.secrets import Secret

AuthType = Literal['swift', 'keystone_v2', 'keystone_v3']
Protocol = Literal['s3', 'swift']
AWS_SUFFIXES = ('.amazonaws.com', '.amazonaws.com.cn')
ANY = '/*'


class RateLimits(Model):
    """Limits of one remote

    All mappings of one remote (same endpoint, same identity) share its limits, and so do the processes of
    one node. Given at the top level, they hold for each remote that sets none itself.
    """

    max_bytes_per_second: PositiveSize | None = Field(default=None, description=(
        'Bytes a second sent to and received from this remote by this node. Text such as `10MiB` is understood. '
        'Without it there is no limit.'))
    max_requests_per_second: Count | None = Field(default=None, description=(
        'Requests a second that this node sends to this remote. Without it there is no limit.'))


class Place(Model):
    """Where the remote is

    These keys stand in the mapping or profile itself, or once under `remotes:` where mappings name them with `remote`.
    """

    protocol: Protocol = Field(default='s3', description=(
        '`s3` for Amazon S3, Google Cloud Storage (interoperability keys) and every S3-compatible store; '
        '`swift` for another Swift cluster.'))
    endpoint: Text | None = Field(default=None, validation_alias='aws_endpoint', description=(
        'URL of the S3 endpoint; without it, Amazon S3 of the region. For `swift` it is required and is the '
        '*authentication* URL (v1: `http://host:8080/auth/v1.0`, Keystone: `http://host:5000/v3`).'))
    region: Text | None = Field(default=None, description=(
        'S3: the region that requests are signed for. Without it: the one of the AWS environment, else us-east-1.'))
    path_style: bool | None = Field(default=None, description=(
        'S3: bucket in the path (true) or in the host name (false). Without it: in the path everywhere but on Amazon.'))
    conditional_put: Literal['auto', 'always', 'never'] = Field(default='auto', description=(
        'Whether the remote honours `If-None-Match` and `If-Match` on PUT, which saves a request for each new object. '
        '`auto` finds out; `always` and `never` settle it.'))
    verify_tls: bool = Field(default=True, description='Whether certificates are checked. Off only for tests.')
    ca_file: Text | None = Field(default=None, description=(
        'PEM file with the certificate authorities to trust. Without it: those of the system.'))
    max_connections: Count | None = Field(default=None, description=(
        'Connections to this remote per process. Without it: as many as the process has workers.'))


class Credentials(Model):
    """Logging in at the remote

    A secret is text, `{env: NAME}` (an environment variable) or `{file: PATH}` (a file; one line break at its end is
    dropped, a relative path counts from the configuration file). S3 without identity and secret uses the default
    chain of the AWS libraries (environment, shared files, instance or container role).
    """

    identity: Text | None = Field(default=None, validation_alias='aws_identity', description=(
        'S3 access key, or Swift user (v1: `account:user`).'))
    secret: Secret | None = Field(default=None, validation_alias='aws_secret', description=(
        'S3 secret key, or Swift key or password. A secret.'))
    session_token: Secret | None = Field(default=None, validation_alias='aws_session_token', description=(
        'S3: token of temporary credentials. A secret.'))
    signature: Literal['v4', 'v2'] = Field(default='v4', description=(
        'S3: signature version. `v2` only for stores that know no other.'))
    auth_type: AuthType = Field(default='swift', description=(
        'Swift: `swift` (v1), `keystone_v3`, or `keystone_v2` for old clusters.'))
    tenant_name: Text | None = Field(default=None, description='Swift, keystone_v2: the tenant. Required there.')
    project_name: Text | None = Field(default=None, description=(
        'Swift, keystone_v3: the project. Required there, except with an application credential.'))
    project_domain_name: Text | None = Field(default=None, description=(
        'Swift, keystone_v3: domain of the project. Required with `project_name`.'))
    user_domain_name: Text | None = Field(default=None, description=(
        'Swift, keystone_v3: domain of the user. Required with `aws_identity`.'))
    application_credential_id: Text | None = Field(default=None, description=(
        'Swift, keystone_v3: application credential; takes the place of user, password and project.'))
    application_credential_name: Text | None = Field(default=None, description=(
        'Swift, keystone_v3: application credential by name; needs `aws_identity` and `user_domain_name`.'))
    application_credential_secret: Secret | None = Field(default=None, description=(
        'Swift, keystone_v3: secret of the application credential. A secret.'))
    remote_account: Text | None = Field(default=None, description=(
        'Swift: account to work in, when it is not the one that authentication answers with.'))


class NamedRemote(RateLimits, Credentials, Place):
    """One entry of ``remotes``: everything but the bucket."""


class Bucket(Model):
    """Where at the remote

    Always in the entry itself, whether or not it names a remote.
    """

    bucket: str = Field(validation_alias='aws_bucket', description=(
        'The bucket, or the remote Swift container, which must exist. For a Swift remote of a `/*` mapping: what each '
        'container\'s remote name begins with (it may be empty); those containers are created. In a migration `/*` '
        'means every bucket or container that the credentials own.'))


class Remote(Bucket, NamedRemote):
    """One bucket or container at a remote. Made by the loader from a mapping or from a named remote."""

    @property
    def label(self) -> str:
        """The remote's part of statsd names: its endpoint, or ``S3`` for Amazon (predecessor-sync 2.6)."""
        return self.endpoint or 'S3'

    @property
    def is_amazon(self) -> bool:
        """Whether this is Amazon S3 itself, where virtual-host style and new SDK defaults are right."""
        return self.protocol == 's3' and (
            self.endpoint is None or identity.endpoint_host(self.endpoint).endswith(AWS_SUFFIXES))
