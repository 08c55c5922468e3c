"""The organizations, sandboxes and datasets to which a stack may send batches."""

import re
from collections.abc import Callable, Sequence

from aep_intake.model.batches import Dataset, Target
from aep_intake.model.errors import TargetNotAllowed
from aep_intake.model.organizations import Organizations
from aep_intake.model.values import dataclass


@dataclass(frozen=True, slots=True)
class Targets:
    """Finds the target of a batch. All ports but the last may raise TryAgain."""

    organizations: Callable[[], Organizations]  # in force
    ims_org: Callable[[str], str]  # of a credential
    # Of a credential, organization, sandbox and name. Raises DatasetNotFound.
    dataset_id: Callable[[str, str, str, str], str]
    dataset: Callable[[Target], Dataset | None]  # None if Catalog does not answer at once

    def target(
        self,
        credential: str | None = None,
        sandbox: str | None = None,
        dataset_id: str | None = None,
        dataset_name: str | None = None,
    ) -> Target:
        """The target; None: the default. Raises TargetNotAllowed, DatasetNotFound or TryAgain."""
        organization = self.organizations().of(credential)
        arn, allowed = organization.credential, organization.sandboxes
        sandbox = sandbox or allowed[0]
        if sandbox not in allowed:
            raise TargetNotAllowed(
                f"sandbox {sandbox!r} is not one this stack allows with the secret {arn} "
                f"({', '.join(allowed)}): see `sandboxes` in the limits document, which "
                "`aep-intake limits publish` changes"
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
            f"this stack has no credential of organization {ims_org!r}: "
            "see `organizations` in the limits document, which `aep-intake limits publish` changes"
        )

    def open_dataset(self, target: Target) -> Dataset | None:
        """What is known of the dataset: as `dataset`. Raises TargetNotAllowed if it is Adobe's."""
        dataset = self.dataset(target)
        if dataset is not None and dataset.system:
            raise TargetNotAllowed(
                f"dataset {target.dataset_id} is Adobe's own and takes no batches"
            )
        return dataset

    @property
    def credentials(self) -> tuple[str, ...]:
        """Secret ARNs, the first the default. Raises TryAgain."""
        return self.organizations().credentials


def credential_arn(name: str | None, arns: Sequence[str]) -> str:
    """The ARN of the stack's secret called `name`; the first if None.

    A secret's name is its ARN after `:secret:` without the six characters Secrets Manager adds.
    Raises TargetNotAllowed unless exactly one has that name.
    """
    if name is None:
        found = arns[:1]
    else:
        ending = re.compile(rf":secret:{re.escape(name)}(-[0-9A-Za-z]{{6}})?\Z")
        found = [arn for arn in arns if ending.search(arn)]
    if len(found) != 1:
        raise TargetNotAllowed(f"the stack has {len(found)} credentials named {name!r}, not 1")
    return found[0]
