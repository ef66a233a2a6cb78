"""The ways around that take more than one request."""

from e2e.border.stage import Story
from e2e.border.stories_of_losses import losses
from e2e.border.stories_of_networks import networks
from e2e.border.stories_of_nodes import nodes
from e2e.border.stories_of_rights import rights
from e2e.border.stories_of_running_pods import running_pods
from e2e.border.stories_of_waivers import waivers
from e2e.border.stories_of_webhooks import webhooks
from e2e.border.stories_of_workloads import workloads


def stories() -> tuple[Story, ...]:
    """All of them, by number."""
    told = (*workloads(), *nodes(), *losses(), *rights(), *running_pods(), *webhooks(), *waivers(), *networks())
    return tuple(sorted(told, key=lambda story: story.number))
