"""API keys in the admin: made, shown once, revoked; never deleted, because the runs' history refers to them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import get_current_timezone_name
from django.views.decorators.debug import sensitive_variables

from gateway_project import clock
from gateway_project.access.models import APIKey
from gateway_project.admin_pages.guarded import GuardedAdmin
from gateway_project.admin_pages.times import utc_column
from gateway_project.conf import gateway_settings

if TYPE_CHECKING:
    KeyModelForm = forms.ModelForm[APIKey]
else:
    KeyModelForm = forms.ModelForm

REVOKE_URL = "gateway_access_apikey_revoke"


class APIKeyForm(KeyModelForm):
    """What a person decides about a key."""

    agents = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="The agents it may use; none ticked means all, also those that are added later.",
    )

    class Meta:
        model = APIKey
        fields = ("name", "agents", "expires_at", "operate", "content")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "expires_at" in self.fields:
            self.fields["expires_at"].help_text = f"In {get_current_timezone_name()}."
        if "agents" in self.fields:  # not for those who may only look
            field = self.fields["agents"]
            assert isinstance(field, forms.MultipleChoiceField)
            configured = list(gateway_settings().AGENTS)
            gone = [name for name in self.instance.agents if name not in configured]
            field.choices = [
                *((name, name) for name in configured),
                *((name, f"{name} (not configured any more)") for name in gone),
            ]

    def clean_expires_at(self) -> Any:
        """A new date of expiry lies ahead; to end a key now, revoke it."""
        expires_at = self.cleaned_data["expires_at"]
        if expires_at is not None and "expires_at" in self.changed_data and expires_at <= clock.now():
            raise forms.ValidationError("This lies in the past. To end a key now, revoke it.")
        return expires_at


@admin.display(description="Key")
def shown_prefix(key: APIKey) -> str:
    """What may be seen of the key."""
    return f"gw-{key.prefix}-…"


@admin.display(description="Agents")
def agents(key: APIKey) -> str:
    """Which agents it may use."""
    return ", ".join(key.agents) or "all"


@admin.display(description="State")
def state(key: APIKey) -> SafeString:
    """Usable, expired or revoked, as a badge."""
    if key.revoked_at is not None:
        kind, text = "revoked", "Revoked"
    elif not key.is_usable:
        kind, text = "expired", "Expired"
    else:
        kind, text = "usable", "Usable"
    return format_html('<span class="gw-key-state gw-key-{}">{}</span>', kind, text)


_CREATED = utc_column("created_at", "created", is_sortable=True)
_EXPIRES = utc_column("expires_at", "expires", is_sortable=True)
_USED = utc_column("last_used_at", "last used", is_sortable=True)
_REVOKED = utc_column("revoked_at", "revoked")

# The stubs know field names only; Django takes functions too.
_COLUMNS: Any = ("name", state, shown_prefix, agents, _CREATED, _EXPIRES, _USED)
_READ_ONLY: Any = (shown_prefix, state, _CREATED, _USED, _REVOKED)


@admin.register(APIKey)
class APIKeyAdmin(GuardedAdmin):
    """A key's text is in the answer to the form that made it, and nowhere else."""

    form = APIKeyForm
    list_display = _COLUMNS
    search_fields = ("name", "prefix")
    search_help_text = "A part of the name, or of what is visible of the key."
    ordering = ("name", "id")
    actions = ("revoke_selected",)
    fields = ("name", "agents", "expires_at", "operate", "content")
    readonly_fields = _READ_ONLY

    class Media:
        css = {"all": ("gateway_access/keys.css",)}

    def has_change_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        """A revoked key stays as it was."""
        return super().has_change_permission(request, obj) and (obj is None or obj.revoked_at is None)

    def has_delete_permission(self, request: HttpRequest, obj: APIKey | None = None) -> bool:
        """Nobody: revoke it."""
        return False

    def get_fields(self, request: HttpRequest, obj: APIKey | None = None) -> Any:
        """A key that is there has more to show than the form that makes one."""
        if obj is None:
            return self.fields
        editable = self.has_change_permission(request, obj)
        agents_, expires = ("agents", "expires_at") if editable else (agents, _EXPIRES)
        return ("name", agents_, expires, "operate", "content", *self.readonly_fields)

    def get_urls(self) -> list[URLPattern]:
        """The page that asks before it revokes, beside the stock pages."""
        revoke = path("<int:key_id>/revoke/", self.admin_site.admin_view(self.revoke_view), name=REVOKE_URL)
        return [revoke, *super().get_urls()]

    # -- make -----------------------------------------------------------------------------------------

    @method_decorator(sensitive_variables("text"))
    def save_model(self, request: HttpRequest, obj: APIKey, form: Any, change: bool) -> None:
        """A new key is made where all keys are made; `obj` becomes it, with its text for `response_add`."""
        if change:
            super().save_model(request, obj, form, change)
            return
        key, text = APIKey.objects.create_key(
            obj.name, agents=obj.agents, expires_at=obj.expires_at, operate=obj.operate, content=obj.content
        )
        obj.__dict__.update(key.__dict__)
        request.gateway_key_text = text  # type: ignore[attr-defined]  # dies with the request

    @method_decorator(sensitive_variables())
    def response_add(self, request: HttpRequest, obj: APIKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the text in this very response: a message would lie in a cookie or session, a redirect in a URL."""
        context = self._context(request, obj, "The key was made") | {
            "text": request.gateway_key_text,  # type: ignore[attr-defined]  # set in save_model
            "agents": agents(obj),
        }
        response = TemplateResponse(request, "admin/gateway_access/apikey/created.html", context)
        response["Cache-Control"] = "no-store"
        return response

    # -- revoke ---------------------------------------------------------------------------------------

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: APIKey | None = None,
    ) -> HttpResponse:
        """With the button that revokes, for a key that can be revoked."""
        if add:  # what follows is the page with the key
            context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        if obj is not None and self.has_change_permission(request, obj):
            context["revoke_url"] = self._url(REVOKE_URL, obj.pk)
        return super().render_change_form(request, context, add, change, form_url, obj)

    def revoke_view(self, request: HttpRequest, key_id: int) -> HttpResponse:
        """GET asks, POST revokes."""
        key = self.get_object(request, str(key_id))
        if not self.has_change_permission(request):
            raise PermissionDenied
        if key is None:
            raise Http404
        page = self._url("gateway_access_apikey_change", key.pk)
        if request.method == "POST" or key.revoked_at is not None:
            self._revoke(request, [key])
            return HttpResponseRedirect(page)
        return self._ask(request, [key], back=page)

    @admin.action(permissions=["change"], description="Revoke selected API keys")
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> HttpResponse | None:
        """Asks first, as deleting does."""
        keys = list(queryset.filter(revoked_at__isnull=True))
        if not keys:
            self.message_user(request, "The selected keys are revoked already.", messages.WARNING)
            return None
        if request.POST.get("confirmed"):
            self._revoke(request, keys)
            return None
        return self._ask(request, keys, back=request.get_full_path())

    def _revoke(self, request: HttpRequest, keys: Iterable[APIKey]) -> None:
        """Revoke each once; the first time stays."""
        revoked = [
            key
            for key in keys
            if APIKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=clock.now())
        ]
        for key in revoked:
            self.log_change(request, key, "Revoked.")
        if revoked:
            names = ", ".join(map(str, revoked))
            self.message_user(request, f"Revoked: {names}. New requests with it are refused from now on.")
        else:
            self.message_user(request, "It had been revoked already.", messages.WARNING)

    def _ask(self, request: HttpRequest, keys: list[APIKey], *, back: str) -> TemplateResponse:
        title = "Revoke this API key?" if len(keys) == 1 else f"Revoke these {len(keys)} API keys?"
        context = self._context(request, title, title) | {"keys": keys, "back_url": back}
        return TemplateResponse(request, "admin/gateway_access/apikey/revoke.html", context)

    def _context(self, request: HttpRequest, original: object, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "has_view_permission": True,
            "original": original,
            "title": title,
        }

    def _url(self, name: str, *args: object) -> str:
        return reverse(f"admin:{name}", args=args, current_app=self.admin_site.name)
