-- Pilotune @version@, for Lmod. Written by `make install-module`, which fills in what stands between @ signs.
local version = [==[@version@]==]
local root = [==[@root@]==]
local sites = [==[@sites@]==]

help([==[
Pilotune @version@: hyperparameter optimization on supercomputers. One study file, one command, any scheduler.

  pilotune init my-study                  a study file and an objective to start from
  pilotune check my-study/study.yaml      what would be run
  pilotune run my-study/study.yaml --site NAME
  pilotune site list                      the machines that can be named

Only the command `pilotune` is put on PATH; it has a Python environment of its own. Objectives written in Python run
in that environment too; further packages of yours are found through PYTHONPATH. A `command:` objective runs any program.
Site files of this installation: @sites@
]==])

whatis("Name: Pilotune")
whatis("Version: " .. version)
whatis("Category: tools, machine learning")
whatis("Keywords: hyperparameter optimization, Optuna, Parsl")
whatis("Description: Hyperparameter optimization on supercomputers")

family("pilotune")
prepend_path("PATH", pathJoin(root, "bin"))
append_path("PILOTUNE_SITES", sites)

-- The shell asks the program for its completion when the first word is completed, not when the module is loaded.
local shell = myShellName()
if shell == "bash" or shell == "zsh" then
   local loader = [==[eval "$(pilotune completion ]==] .. shell .. [==[)" && _pilotune_completion "$@"]==]
   set_shell_function("_pilotune_completion", loader, "")
   if shell == "bash" and complete then
      complete("bash", "pilotune", "-o nosort -F _pilotune_completion")
   elseif shell == "zsh" then
      execute({ cmd = "(( $+functions[compdef] )) && compdef _pilotune_completion pilotune", modeA = { "load" } })
      execute({ cmd = "(( $+functions[compdef] )) && compdef -d pilotune", modeA = { "unload" } })
   end
end
