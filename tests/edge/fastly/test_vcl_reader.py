"""VCL read as statements: comments, strings and blocks are told apart, whatever the text is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeguard.edge.fastly.vcl import MACRO, every, statements, subroutine

TEXT = """
# a comment; { "
sub vcl_recv { // sub none {
  #FASTLY recv
  if (req.http.error ~ "}; restart;") { error 601 {"a "long" }; string"}; } else { restart; }
  /* return(pass); */ set req.http.X = {EG"#FASTLY miss
"} "EG} "b";
}
table t { "a": "b", }
"""


def test_statements_have_their_words_and_blocks() -> None:
    sub, table = statements(TEXT)
    assert (subroutine(sub), subroutine(table)) == ("vcl_recv", None)
    found = [str(statement) for statement in every(sub.block or ())]
    assert found == [
        f"{MACRO} recv",
        'if(req.http.error ~ "}; restart;")',
        'error 601 {"a "long" }; string"}',
        "else",
        "restart",
        'set req.http.X = {EG"#FASTLY miss\n"} "EG} "b"',
    ]


def test_white_space_and_comments_make_no_difference_and_anything_else_does() -> None:
    assert statements("if(a){b;}") == statements("if ( a ) # c\n{ /* d */ b ; }")
    assert statements("if(a){b;}") != statements("if(a){b;} b;")
    assert statements('set a = "b c";') != statements('set a = "b  c";')


@given(st.text(alphabet=' \n"{}();#/*sub a:=', max_size=200))
def test_any_text_is_read(text: str) -> None:
    for statement in every(statements(text)):
        assert statement.words or statement.block is not None
        subroutine(statement)
