"""Our students in the Auto classes of ``transformers``, without loading either until it is asked for.

``import micrographia`` loads no torch, yet after it ``AutoModelForImageTextToText.from_pretrained(folder)``
must know MVaEMa. ``transformers`` itself loads each of its Auto classes when it is first used, so ours are
registered at that moment: a finder on ``sys.meta_path`` lets Python's own finder load the module of the Auto
class and calls the public ``register`` right after. Where ``transformers`` came first and the Auto class is
loaded already, it is registered at once. No code is stored in the student's folder and none is trusted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType


def _configuration(auto: ModuleType) -> None:
    from micrographia.students.configuration import MAEMIConfig, MVaEMaConfig, VisionConfig

    for config in (VisionConfig, MVaEMaConfig, MAEMIConfig):
        auto.AutoConfig.register(config.model_type, config)


def _model(auto: ModuleType) -> None:
    from micrographia.students.maemi import MAEMIForConditionalGeneration
    from micrographia.students.mvaema import MVaEMaForConditionalGeneration
    from micrographia.students.vision import VisionEncoder

    auto.AutoModel.register(VisionEncoder.config_class, VisionEncoder)
    for student in (MVaEMaForConditionalGeneration, MAEMIForConditionalGeneration):
        auto.AutoModelForImageTextToText.register(student.config_class, student)


def _image_processor(auto: ModuleType) -> None:
    from micrographia.students.configuration import MVaEMaConfig
    from micrographia.students.processor import MVaEMaImageProcessor

    auto.AutoImageProcessor.register(MVaEMaConfig, image_processor_classes={"pil": MVaEMaImageProcessor})


def _processor(auto: ModuleType) -> None:
    from micrographia.students.configuration import MAEMIConfig, MVaEMaConfig
    from micrographia.students.processor import MVaEMaProcessor
    from micrographia.students.prompts import MAEMIProcessor

    auto.AutoProcessor.register(MVaEMaConfig, MVaEMaProcessor)
    auto.AutoProcessor.register(MAEMIConfig, MAEMIProcessor)


# None of these functions may import, directly or through what it imports, a module further down this table:
# that module may be the one that is waiting for the Auto class above it.
_REGISTER: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _configuration,
    "transformers.models.auto.modeling_auto": _model,
    "transformers.models.auto.image_processing_auto": _image_processor,
    "transformers.models.auto.processing_auto": _processor,
}


class _ThenRegister(Loader):
    """Loads a module as ``loader`` would, then calls ``register`` with it."""

    def __init__(self, loader: Loader, register: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.register = register

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.register(module)


class _AutoClassFinder(MetaPathFinder):
    """Finds the modules of the Auto classes, and no others."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _REGISTER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ThenRegister(spec.loader, _REGISTER[name])
        return spec


def register_students() -> None:
    """Make the Auto classes know our students; calling it again changes nothing."""
    if any(isinstance(finder, _AutoClassFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _AutoClassFinder())
    for name, register in _REGISTER.items():
        if name in sys.modules:
            register(sys.modules[name])
