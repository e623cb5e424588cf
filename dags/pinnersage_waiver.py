"""Waiver: the task that asks a person whether a day whose checks failed is right all the same.

Not a DAG file itself (.airflowignore). It asks only when every rule that failed may be waived
(``checks.waivable``); a day that passed goes through at once. While it waits it takes no slot.
"""

from datetime import timedelta
from typing import Any

from airflow.providers.standard.exceptions import HITLRejectException, HITLTimeoutError
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException
from pinnersage_alerts import Alert
from pinnersage_dags import day_of_run, once

PATIENCE = timedelta(hours=24)
"""After it the task fails, and the day stays unpublished."""


class WaiveOperator(ApprovalOperator):
    """Asks under *Required Actions*; the answer's name and reason stay with the day.

    Parameters
    ----------
    judged : XComArg
        What the task ``validate`` returned.
    """

    template_fields = (*ApprovalOperator.template_fields, "judged")

    def __init__(self, *, judged: Any, **kwargs: Any) -> None:
        # Airflow puts the DAG's own fields into the keyword: what is asked for here is this one.
        kwargs["params"] = {
            "reason": Param(
                None,
                type=["null", "string"],
                minLength=1,
                title="Reason",
                description="Why the day is right all the same; kept with your name.",
                source="task",
            )
        }
        super().__init__(
            subject="Release a day whose checks failed?",
            body="",
            fail_on_reject=True,
            response_timeout=PATIENCE,
            notifiers=[Alert("decision")],
            **kwargs,
        )
        self.judged = judged

    def execute(self, context: Any) -> Any:
        """Return at once for a day that passed, else wait for a person."""
        if "asks" not in self.judged:
            return None
        self.subject = f"{self.judged['day']}: checks failed. Release the day all the same?"
        self.body = self.judged["asks"]
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Keep the waiver, so that the day can be published; a rejected day fails here."""
        try:
            answer = super().execute_complete(context, event)
        except (HITLRejectException, HITLTimeoutError) as error:  # a retry would ask again
            raise AirflowFailException(f"Not waived: {error}. The day is not published.") from error
        from pinnersage.waive import run

        reason = str(answer["params_input"].get("reason") or "").strip()
        if not reason:
            raise AirflowFailException("A waiver needs a reason: clear this task, answer again.")
        who, when = answer["responded_by_user"], answer["responded_at"]
        by = (who or {}).get("name") or (who or {}).get("id") or ""
        return once(run, day_of_run(), self.judged["report"], by, reason, when)
