"""Where this deployment may send batches: its organizations, sandboxes and their datasets."""

from collections.abc import Callable
from dataclasses import dataclass

from aep_intake.model.batches import Dataset, Target
from aep_intake.model.errors import TargetNotAllowed
from aep_intake.model.organizations import Organizations


@dataclass(frozen=True, slots=True)
class Targets:
    """Where this deployment may send batches.

    `organizations` in force; may raise TryAgain, as may `ims_org` (of a credential) and
    `dataset_id` (of a credential, organization, sandbox and name); the latter DatasetNotFound.
    `dataset`: what Catalog tells in a moment; None if nothing.
    """

    organizations: Callable[[], Organizations]
    ims_org: Callable[[str], str]
    dataset_id: Callable[[str, str, str, str], str]
    dataset: Callable[[Target], Dataset | None]

    def target(
        self,
        credential: str | None = None,
        sandbox: str | None = None,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
    ) -> Target:
        """Raises TargetNotAllowed or DatasetNotFound, or TryAgain."""
        organization = self.organizations().of(credential)
        arn, allowed = organization.credential, organization.sandboxes
        sandbox = sandbox or allowed[0]
        if sandbox not in allowed:
            raise TargetNotAllowed(
                f"sandbox {sandbox!r} is not one this deployment allows with the secret {arn} "
                f"({', '.join(allowed)}): see `sandboxes` in what `aep-intake limits publish` made "
                "live"
            )
        ims_org = self.ims_org(arn)
        if dataset_id is None:
            dataset_id = self.dataset_id(arn, ims_org, sandbox, dataset_name or "")
        return Target(arn, ims_org, sandbox, dataset_id)

    def credential_of_org(self, ims_org: str) -> str:
        """The credential of an organization; raises TargetNotAllowed where there is none."""
        for arn in self.credentials:
            if self.ims_org(arn) == ims_org:
                return arn
        raise TargetNotAllowed(
            f"this deployment has no credential of organization {ims_org!r}: "
            "see `organizations` in what `aep-intake limits publish` made live"
        )

    @property
    def credentials(self) -> tuple[str, ...]:
        """Secret ARNs, the first the default. Raises TryAgain."""
        return self.organizations().credentials
