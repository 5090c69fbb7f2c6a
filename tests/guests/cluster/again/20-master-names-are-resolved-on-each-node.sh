# By the pods that came back with their machines, and by new ones.
. checks/common.sh
within 900 have_answers
ask_anew
