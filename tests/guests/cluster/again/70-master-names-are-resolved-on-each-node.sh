. checks/common.sh
ask_anew
