"""Every error a user can see.

    MicrographiaError          caught by the command line, printed without a traceback
      UnreadableFile           one file could not be taken; the run goes on without it
        UnsupportedFormat      its first bytes are of no format we read
          NoImage              it is read, and holds a spectrum or a profile only
        DamagedFile            empty, truncated, or its content contradicts its header
        ImageTooLarge          its header asks for more pixels or pages than allowed
      RecipeError              the recipe or an option is wrong; nothing has been started
      WorkspaceError           the folder is not a workspace, or lacks what a stage needs
      PlanError                the student cannot be tuned as asked
      StudentError             a student's folder is missing, partial or not of a known kind
      WorkLeftOut              a stage ended, but something that was asked for was not done

A message says what was wrong, the value, the file or field, and what to do next:

    raise RecipeError("split.folds is 1", "a k-fold split needs at least 2 folds")
"""


class MicrographiaError(Exception):
    """Base of everything a user can mend. ``what`` went wrong and the ``remedy``, each one sentence."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}" if self.remedy else self.what


class UnreadableFile(MicrographiaError):
    """One file could not be taken. It is recorded with this reason and the run goes on."""


class UnsupportedFormat(UnreadableFile):
    """The first bytes are of no format that is read."""


class NoImage(UnsupportedFormat):
    """The file is of a format that is read, and holds a spectrum or a profile, but no image."""


class DamagedFile(UnreadableFile):
    """Empty, truncated, or its content contradicts its header."""


class ImageTooLarge(UnreadableFile):
    """The header asks for more pixels or pages than the limits allow; nothing was decoded."""


class RecipeError(MicrographiaError):
    """The recipe or an option is wrong. The message names the field; no work was started."""


class WorkspaceError(MicrographiaError):
    """The folder is not a workspace, or lacks what the stage needs."""


class PlanError(MicrographiaError):
    """The student cannot be tuned as asked on this data or this device."""


class StudentError(MicrographiaError):
    """A student's folder is missing, partial, or not of a known kind."""


class WorkLeftOut(MicrographiaError):
    """The stage ended and kept what it did, but something that was asked for was not done."""
