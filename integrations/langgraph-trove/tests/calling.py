"""Steps that call graphs, which LangGraph goes on in where they were."""

from langgraph.types import interrupt

from langgraph_trove import workspace_node


class Calls:
    """A step that calls a graph, whose nodes may use what the step works with."""

    def __init__(self, inner):
        self.inner = inner
        self.workspace = None

    @property
    def node(self):
        @workspace_node
        def call(state, workspace):
            self.workspace = workspace
            return {"log": self.inner.invoke({"log": []})["log"]}

        return call


def calling(builder, *, first=None, logged=()):
    """A step that calls a graph, after something of its own."""
    inner = builder.compile()

    @workspace_node
    def call(state, workspace):
        if first is not None:
            first(workspace)
        return {"log": [*logged, *inner.invoke({"log": []})["log"]]}

    return call


def plain(name, *, asks=False):
    """A node that writes a file of its own."""

    def add(state, workspace):
        workspace.write(name, name)
        if asks:
            interrupt("go on?")
        return {"log": [name]}

    add.__name__ = name
    return workspace_node(add)
