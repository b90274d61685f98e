"""What can go wrong in the model itself, and the errno values its functions return."""

EPERM = 1
EFAULT = 14
ENOMEM = 12
EAGAIN = 11
EINVAL = 22


class ModelError(Exception):
    """A mistake of whoever drives the model; its text is one sentence for the user."""


class ScopeError(ModelError):
    """A scope that makes no sense."""


class SchemeError(ModelError):
    """A scheme that breaks the interface: a missing hook, a nonsense answer, a forbidden read."""


class KernelOops(Exception):  # noqa: N818 - the kernel's own word
    """The modelled kernel touched memory it must not touch.

    `kind` is the name of the violation: use_after_free, null_dereference, double_free, kernel_bug
    (a BUG() of the modelled kernel; then `field` says which), or out_of_range (a counter that
    wrapped; then `index` is the value).
    """

    def __init__(self, kind: str, struct: str, field: str, index: int) -> None:
        self.kind = kind
        self.struct = struct
        self.field = field
        self.index = index
        super().__init__(f"{kind}: {struct}[{index}].{field}")
