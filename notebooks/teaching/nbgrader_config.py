"""The course folder of nbgrader: call its commands in here."""

c = get_config()  # noqa: F821 - nbgrader gives it
c.CourseDirectory.course_id = "petweak"
c.ExecutePreprocessor.timeout = 300
# What a student reads in place of a solution.
c.ClearSolutions.code_stub = {"python": "# your code here\nraise NotImplementedError()"}
c.ClearSolutions.text_stub = "*Your answer:*"
