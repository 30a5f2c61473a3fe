"""The list of runs, which goes on with older ones where it is cut."""

from gateway_project.admin_pages.bounded import BoundedList, BoundedPaginator


class BoundedChangeList(BoundedList):
    """A page of the list of runs, and where the list goes on."""

    def older_url(self) -> str | None:
        """From the last page of a list that was cut to the runs before it; beginning with its last one."""
        assert isinstance(self.paginator, BoundedPaginator)
        if not self.paginator.is_capped or self.page_num < self.paginator.num_pages or not self.result_list:
            return None
        last = list(self.result_list)[-1].received_at
        return self.get_query_string({"until": last.isoformat()})
