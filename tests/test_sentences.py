from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmo.sentences import is_complete, split_sentences

# A bar marks where one sentence ends and the next begins.
MARKED = [
    "Patients received 5 mg i.v. twice daily.| The dose was then doubled.",
    "Boonen et al. [21] recently suggested this.| It failed.",
    "This was reported by Smith et al.| The results agree.",
    "As shown in Fig. 2, glucose rose.| This held at 8 a.m. in all groups.",
    "Growth differed (Figs. 1 and 2; Eq. 3).| Nothing else did.",
    "The difference was significant (P < 0.05).| E. coli and S. aureus were grown.| B. subtilis was not.",
    "The M. D. Anderson cohort was used.| It was large.",
    "Special thanks go to D. A. Hodgson.| The rest is silence.",
    "Levels fell by 0.5 mM vs. controls.| No. 5 was excluded.",
    "We had three aims: 1. to determine X; 2. to test Y; 3. to publish Z.",
    "Risk rose (0.21).| sCTX was lower.| a-tDCS was applied to the cortex.",
    "It reduces risk.12| The mechanism is unknown.13,14| Another study agreed.",
    "It reduces risk. [12]| The mechanism is unknown [13].| Another study agreed.",
    "They take vitamin C.| Patients improved on hepatitis B.| Vaccination was repeated.",
    "Dr. J. K. Smith saw approx. 12 patients on Dec. 30, 2012.| Prof. Chen agreed.",
    "“We did it.”| The end (see Table 1).| p53 was mutated.",
    "They met in 2016.| The trial ended.| 12 patients died.",
    "Figure 1. The structures of naringin.| (A) Blank serum.",
    "He used i.e. the U.S. method.| Was it good?| Yes.",
    "α-Tocopherol rose by 3.5%.| β-Carotene did not.",
    "The pH was 7.4.| n-3 PUFAs were added at 37 °C.| The solution (ca. 5 mL) was mixed.",
    "Analyses used SAS (SAS Inc., Cary, NC, USA).| The level was 5%.",
    "Streptomyces sp. Tü was grown with B. subtilis.| We did that.",
    "Doses of 10 mg/kg b.w. were given p.o. to rats.| None died.",
    "The rate was 0.5 L/min.| Dissolved oxygen was logged.",
    "血清グルコースが上昇した。|その後低下した。",
    "Results\n\n|Glucose rose.| Lactate fell\n|in the second row",
    "Methods| We studied 13 patients.| Results:| Glucose fell.| CONCLUSIONS.| It may be worth a trial.",
    "Results showed no change.| Methods Development Inc. sold it.",
    "The roots of Paeonia lactiflora Pall. (Bai-Shao), and of Cyperus rotundus L. (Xiang-Fu) are used.| (This is old.)",
    "Intakes were computed (FoodWorks, v.7 Professional; Xyris) for all.| The package (SPSS 20. Armonk, NY) helped.",
    "The activity was appr. 100 times higher.| It was not (see below.",
    "Figure1. Milk of several species.| Figure2 shows it.",
]


@pytest.mark.parametrize("marked", MARKED)
def test_biomedical_sentences_end_where_a_reader_would_end_them(marked: str) -> None:
    text = marked.replace("|", "")

    assert [text[start:end] for start, end in split_sentences(text)] == [part.strip() for part in marked.split("|")]


@given(st.text(alphabet=st.sampled_from("aB1 .?!\n\t([])”,%éβ。")))
def test_every_character_but_white_space_is_in_exactly_one_sentence(text: str) -> None:
    spans = split_sentences(text)

    assert all(start < end for start, end in spans)
    assert spans == sorted(spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(text.split())


@given(st.text())
def test_completeness_of_any_text_can_be_asked(text: str) -> None:
    assert is_complete(text) in (True, False)


@pytest.mark.parametrize(
    "sentence",
    [
        "Plasma glutamine was lower in patients than in controls (P < 0.001) [12].",
        "p53 was mutated in most tumours.",
        "α-Tocopherol rose by 3.5% after two weeks.",
        "Figure 2 shows that lactate rose in all groups.",
        "Table 1 includes the general characteristics of the included studies.",
        "12 patients were given 5 mg of it.",
        "2D electrophoresis was carried out as described [30].",
        "mTOR and cAMP were measured in all of them.",
        "Ratios (RR: 1.52; CI: 1.29 to 1.80) were higher in the older group.",
        "HEI was improved at both 28 (73.35 ± 6.62 versus 71.86 ± 7.01; P < 0.001) and 36 (72.95 ± 6.82) weeks.",
    ],
)
def test_a_whole_sentence_can_stand_alone(sentence: str) -> None:
    assert is_complete(sentence)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("its beginning is missing", "and was lower in patients than in controls."),
        ("its end is missing", "Plasma glutamine was lower in patients than in"),
        ("a heading", "Materials and methods"),
        ("too few words", "Blank serum."),
        ("a caption", "Figure 1. The chemical structures of naringin and quercetin."),
        ("a row of a table", "Glucose\t5.1 ± 0.2\t4.9 ± 0.3\t0.04."),
        ("figures", "Male 12 (33.3) 14 (35.0) 0.88 1.02 (0.8–1.3)."),
        ("a reference", "12. Smith JA, Doe KL: Plasma metabolites in diabetes. Clin Chem 2012, 58:123–130."),
        ("an address", "2Department of Health Statistics, Second Military Medical University, Shanghai, China."),
        ("a correspondence address", "E-Mail: someone@example.org; Tel.: +1-555-0100; Fax: +1-555-0101."),
        ("a panel of a figure", "(B) Blank serum spiked with naringenin and quercetin."),
        ("a legend", "DF = degree of freedom of the model."),
        ("a legend", "COX, cyclooxygenase; CYP, cytochrome of the liver; EET, an acid."),
        ("a legend", "Median and range; ACTH: adrenocorticotropic hormone, CBG: cortisol binding globulin."),
        ("a footnote", "dWhere women participated in these activities."),
        ("a footnote", "2Tincture is a product of a private company."),
        ("a credit", "Reprinted with permission from Ref. [108]."),
        ("a file", "(DOCX 14 kb) Additional file 2: The checklist of this meta-analysis."),
        ("its beginning is missing", "(Chai-Hu), the pericarps of Citrus reticulata were used."),
        ("its beginning is missing", "24 and 48 h and their corresponding control counterparts (p < 0.0001)."),
        ("two lines", "Glucose rose in all groups\nand lactate fell in most of them."),
    ],
)
def test_what_is_no_whole_sentence_cannot_stand_alone(what: str, text: str) -> None:
    assert not is_complete(text), what
