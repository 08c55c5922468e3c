"""CloudWatch's dashboard → the page of a day, a route or a file, made from the ledger alone."""

from typing import Any

import aep_intake.cold_start  # noqa: F401 - the first
from aep_intake.report import view
from aep_intake.report.page.frame import Frame, InDashboard
from aep_intake.settings import Settings
from aep_intake.wiring.page import Showing
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger()
worker = Showing(Settings.of("on_widget")).prepare("page")


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> str:
    """The page as HTML, or, for `describe`, what the widget's parameters are, in Markdown.

    Whoever may see a shared dashboard can send any event.
    """
    given = view.mapping(event)
    if "describe" in given:
        return view.DESCRIPTION
    ways = InDashboard(context.invoked_function_arn)
    frame = Frame(logger.service, ways, view.theme_of_widget(given))
    return view.show(view.of_widget(given), worker.page, frame)
