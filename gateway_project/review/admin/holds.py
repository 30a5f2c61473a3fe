"""Legal holds in the admin: set, with a reason, and lifted, with a reason; never changed or deleted."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from gateway_project.admin_pages.guarded import GuardedAdmin
from gateway_project.admin_pages.times import NOTHING, utc_column
from gateway_project.conf import gateway_settings
from gateway_project.ids import parse_run_id
from gateway_project.review.admin.columns import two_lines
from gateway_project.review.admin.display import badge, run_link
from gateway_project.review.visibility import of_visible_runs, sees_all_runs, visible_runs
from gateway_project.runs.models import Run
from gateway_project.runs.retention.holds import UnknownRun, held_among, lift_hold, set_hold
from gateway_project.runs.retention.models import LegalHold

if TYPE_CHECKING:
    HoldModelForm = forms.ModelForm[LegalHold]
else:
    HoldModelForm = forms.ModelForm

SET = "gateway_runs.set_legal_hold"


class NewHoldForm(HoldModelForm):
    """On what, and why."""

    run = forms.CharField(
        required=False,
        widget=forms.TextInput(attrs={"size": 40}),
        help_text="The run's id in any spelling; or leave it empty, and name a principal.",
    )

    class Meta:
        model = LegalHold
        fields = ("run", "principal_kind", "principal_id", "reason")
        widgets = {"reason": forms.Textarea(attrs={"rows": 3})}

    request: HttpRequest
    """Whose: set by the admin."""

    def clean_run(self) -> Any:
        """The id of a run that whoever asks may know of."""
        text = self.cleaned_data["run"].strip()
        if not text:
            return None
        run_id = parse_run_id(text)
        if run_id is None or not visible_runs(self.request).filter(pk=run_id).exists():
            raise forms.ValidationError("There is no such run.")
        return run_id

    def clean(self) -> dict[str, Any]:
        """One of the two."""
        given = super().clean() or {}
        principal = [given.get("principal_kind"), given.get("principal_id")]
        if "run" in given and bool(given["run"]) == any(principal):
            raise forms.ValidationError("Name a run, or a principal by kind and id.")
        if any(principal) and not all(principal):
            raise forms.ValidationError("A principal is named by its kind and its id.")
        if any(principal) and not sees_all_runs(self.request):
            raise forms.ValidationError("All runs of a principal are held only by who may see all runs.")
        return given


class LiftForm(HoldModelForm):
    """Why not any longer."""

    class Meta:
        model = LegalHold
        fields = ("lift_reason",)
        widgets = {"lift_reason": forms.Textarea(attrs={"rows": 3})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "lift_reason" in self.fields:  # not for those who may only look
            self.fields["lift_reason"].required = True


@admin.display(description="state")
def state(hold: LegalHold) -> SafeString:
    """As a badge."""
    return badge("In force", "warn") if hold.is_in_force else badge("Lifted", "quiet")


@admin.display(description="on")
def target(hold: LegalHold) -> SafeString | str:
    """What is held, with a link to it."""
    if hold.run is not None:
        return run_link(hold.run)
    if not hold.principal_id:
        return hold.principal_kind  # of one that was erased
    return f"All runs of {hold.principal_kind} {hold.principal_id}"


@admin.display(description="set (UTC)")
def was_set(hold: LegalHold) -> SafeString:
    """When, and by whom."""
    return two_lines(_SET_AT(hold), f"by {hold.set_by}")


@admin.display(description="lifted (UTC)")
def was_lifted(hold: LegalHold) -> SafeString | str:
    """The same of its end."""
    return NOTHING if hold.is_in_force else two_lines(_LIFTED_AT(hold), f"by {hold.lifted_by}")


class InForce(admin.SimpleListFilter):
    """Whether it still holds."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        """Two."""
        return [("in-force", "In force"), ("lifted", "Lifted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LegalHold]) -> QuerySet[LegalHold]:
        """Those."""
        if self.value() is None:
            return queryset
        return queryset.filter(lifted_at__isnull=self.value() == "in-force")


# The stubs know field names only; Django takes functions too.
_SET_AT, _LIFTED_AT = utc_column("set_at", "set"), utc_column("lifted_at", "lifted")
_FIELDS: Any = (target, state, "reason", "set_by", _SET_AT)
_LIFTED: Any = (*_FIELDS, "lifted_by", _LIFTED_AT, "lift_reason")


@admin.register(LegalHold)
class LegalHoldAdmin(GuardedAdmin):
    """What a hold is on never changes: lift it, and set another."""

    list_display: Any = (state, target, "reason", was_set, was_lifted)
    list_display_links = (state,)
    list_filter = (InForce,)
    search_fields = ("=principal_id", "reason", "set_by")
    search_help_text = "A principal's id, or words of a reason or of who set it."
    show_facets = admin.ShowFacets.NEVER
    empty_value_display = NOTHING
    ordering = ("-set_at", "-id")

    class Media:
        css = {"all": ("gateway_review/review.css",)}

    def has_view_permission(self, request: HttpRequest, obj: LegalHold | None = None) -> bool:
        """Who may look at them, or set them."""
        return request.user.has_perm("gateway_runs.view_legalhold") or self.has_add_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """A permission of its own, that lifts them too."""
        return request.user.has_perm(SET)

    def has_change_permission(self, request: HttpRequest, obj: LegalHold | None = None) -> bool:
        """To lift one that is in force."""
        return request.user.has_perm(SET) and (obj is None or obj.is_in_force)

    def has_delete_permission(self, request: HttpRequest, obj: LegalHold | None = None) -> bool:
        """Nobody: that there was one is kept."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[LegalHold]:
        """From the database of the runs; for those who may not see all of them the holds on runs that they may see."""
        found = LegalHold.objects.using(gateway_settings().DATABASE).order_by(*self.ordering)
        return of_visible_runs(request, found, "run")

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """One to set a hold, another to lift it."""
        form = super().get_form(request, obj, change, form=LiftForm if obj else NewHoldForm, **kwargs)
        if obj is None:
            form.request = request  # type: ignore[attr-defined]  # a class made for this request
        return form

    def get_fields(self, request: HttpRequest, obj: LegalHold | None = None) -> Any:
        """What is known, and what is asked."""
        if obj is None:
            return NewHoldForm.Meta.fields
        return (*_FIELDS, "lift_reason") if self.has_change_permission(request, obj) else _LIFTED

    def get_readonly_fields(self, request: HttpRequest, obj: LegalHold | None = None) -> Any:
        """Everything but the reasons."""
        return () if obj is None else _FIELDS if self.has_change_permission(request, obj) else _LIFTED

    def save_model(self, request: HttpRequest, obj: LegalHold, form: Any, change: bool) -> None:
        """Set it, or lift it, in the name of whoever is logged in."""
        by = request.user.get_username()
        if change:
            lift_hold(obj.pk, by=by, reason=obj.lift_reason)
            return
        made = set_hold(run=obj.run, kind=obj.principal_kind, principal_id=obj.principal_id, by=by, reason=obj.reason)
        obj.__dict__.update(made.__dict__)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """The stock page, but for a run that was purged while it was filled in."""
        try:
            return super().add_view(request, form_url, {"title": "Set a legal hold", **(extra_context or {})})
        except UnknownRun as error:
            self.message_user(request, f"{error} It was purged just now.", messages.ERROR)
            return HttpResponseRedirect(reverse("admin:gateway_runs_legalhold_changelist"))

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """The stock page: a hold is looked at, or lifted, never changed."""
        return super().changelist_view(request, {"title": "Select legal hold to view or lift", **(extra_context or {})})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The stock page, under what it is for."""
        return super().change_view(request, object_id, form_url, {"subtitle": None, **(extra_context or {})})

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: LegalHold | None = None,
    ) -> HttpResponse:
        """One button: there is nothing to go on editing."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        if obj is not None and self.has_change_permission(request, obj):
            context["title"] = "Lift this legal hold?"
        return super().render_change_form(request, context, add, change, form_url, obj)


@admin.display(description="legal hold")
def of_run(run: Run) -> SafeString | str:
    """Whether one is on this run, by itself or by its principal."""
    return badge("Held", "warn") if held_among([run.pk], connections[gateway_settings().DATABASE]) else NOTHING


def url_to_set(request: HttpRequest, run: Run) -> str | None:
    """Where the button on the run's page leads, for who may set one."""
    if not request.user.has_perm(SET):
        return None
    return f"{reverse('admin:gateway_runs_legalhold_add')}?{urlencode({'run': str(run.pk)})}"
