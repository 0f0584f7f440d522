PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO studies VALUES(1,'first');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO version_info VALUES(1,12,'5.0.0');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_directions VALUES(1,'MINIMIZE',1,0);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_user_attributes VALUES(1,1,'pilotune:study','{"space": {"parameters": {"units": {"kind": "int", "low": 1, "high": 9, "log": false, "step": 1, "when": {}}, "x": {"kind": "float", "low": 0.0, "high": 1.0, "log": false, "step": null, "when": {}}}, "constants": {"epochs": 9}, "constraints": []}, "directions": ["minimize"], "metrics": []}');
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO study_system_attributes VALUES(1,1,'pilotune:tick:e04e02208fa6418b923b3d768fdbf6df','116');
INSERT INTO study_system_attributes VALUES(2,1,'pilotune:campaign:20261129-023834-591feb','{"host": "node1", "place": "00000000-0000-0000-0000-000000000000/pid:[1]", "pid": 22637, "pid_start": 1493763, "run": "/runs/first/20261129-023834-591feb", "started": 1795919916.83576, "heartbeat": 1795919933.0126598, "state": "running"}');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO trials VALUES(1,0,1,'RUNNING','2026-11-29 02:38:42.682677',NULL);
INSERT INTO trials VALUES(2,1,1,'RUNNING','2026-11-29 02:38:42.683489',NULL);
INSERT INTO trials VALUES(3,2,1,'RUNNING','2026-11-29 02:38:46.942442',NULL);
INSERT INTO trials VALUES(4,3,1,'RUNNING','2026-11-29 02:38:47.141012',NULL);
INSERT INTO trials VALUES(5,4,1,'COMPLETE','2026-11-29 02:38:47.371736','2026-11-29 02:38:51.952904');
INSERT INTO trials VALUES(6,5,1,'COMPLETE','2026-11-29 02:38:47.663840','2026-11-29 02:38:49.160145');
INSERT INTO trials VALUES(7,6,1,'COMPLETE','2026-11-29 02:38:47.897385','2026-11-29 02:38:49.384593');
INSERT INTO trials VALUES(8,7,1,'COMPLETE','2026-11-29 02:38:49.160338','2026-11-29 02:38:50.669367');
INSERT INTO trials VALUES(9,8,1,'RUNNING','2026-11-29 02:38:49.384720',NULL);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_user_attributes VALUES(1,1,'pilotune:paused','3');
INSERT INTO trial_user_attributes VALUES(2,3,'pilotune:paused','1');
INSERT INTO trial_user_attributes VALUES(3,2,'pilotune:paused','3');
INSERT INTO trial_user_attributes VALUES(4,4,'pilotune:paused','3');
INSERT INTO trial_user_attributes VALUES(5,5,'pilotune:paused','null');
INSERT INTO trial_user_attributes VALUES(6,6,'pilotune:attempts','1');
INSERT INTO trial_user_attributes VALUES(7,6,'pilotune:exit','"complete"');
INSERT INTO trial_user_attributes VALUES(8,6,'pilotune:host','"node1"');
INSERT INTO trial_user_attributes VALUES(9,6,'pilotune:pool','"local"');
INSERT INTO trial_user_attributes VALUES(10,6,'pilotune:block','"0"');
INSERT INTO trial_user_attributes VALUES(11,6,'pilotune:worker','"node1-c019995474ac/1"');
INSERT INTO trial_user_attributes VALUES(12,6,'pilotune:seconds_waiting','0.019');
INSERT INTO trial_user_attributes VALUES(13,6,'pilotune:seconds_running','1.48');
INSERT INTO trial_user_attributes VALUES(14,6,'pilotune:directory','"/runs/first/20261129-023834-591feb/trials/5"');
INSERT INTO trial_user_attributes VALUES(15,6,'pilotune:bracket','2');
INSERT INTO trial_user_attributes VALUES(16,7,'pilotune:attempts','1');
INSERT INTO trial_user_attributes VALUES(17,7,'pilotune:exit','"complete"');
INSERT INTO trial_user_attributes VALUES(18,7,'pilotune:host','"node1"');
INSERT INTO trial_user_attributes VALUES(19,7,'pilotune:pool','"local"');
INSERT INTO trial_user_attributes VALUES(20,7,'pilotune:block','"0"');
INSERT INTO trial_user_attributes VALUES(21,7,'pilotune:worker','"node1-c019995474ac/0"');
INSERT INTO trial_user_attributes VALUES(22,7,'pilotune:seconds_waiting','0.015');
INSERT INTO trial_user_attributes VALUES(23,7,'pilotune:seconds_running','1.459');
INSERT INTO trial_user_attributes VALUES(24,7,'pilotune:directory','"/runs/first/20261129-023834-591feb/trials/6"');
INSERT INTO trial_user_attributes VALUES(25,7,'pilotune:bracket','2');
INSERT INTO trial_user_attributes VALUES(26,9,'pilotune:paused','1');
INSERT INTO trial_user_attributes VALUES(29,8,'pilotune:attempts','1');
INSERT INTO trial_user_attributes VALUES(30,8,'pilotune:exit','"complete"');
INSERT INTO trial_user_attributes VALUES(31,8,'pilotune:host','"node1"');
INSERT INTO trial_user_attributes VALUES(32,8,'pilotune:pool','"local"');
INSERT INTO trial_user_attributes VALUES(33,8,'pilotune:block','"0"');
INSERT INTO trial_user_attributes VALUES(34,8,'pilotune:worker','"node1-c019995474ac/1"');
INSERT INTO trial_user_attributes VALUES(35,8,'pilotune:seconds_waiting','0.025');
INSERT INTO trial_user_attributes VALUES(36,8,'pilotune:seconds_running','1.484');
INSERT INTO trial_user_attributes VALUES(37,8,'pilotune:directory','"/runs/first/20261129-023834-591feb/trials/7"');
INSERT INTO trial_user_attributes VALUES(38,8,'pilotune:bracket','2');
INSERT INTO trial_user_attributes VALUES(40,5,'pilotune:attempts','2');
INSERT INTO trial_user_attributes VALUES(41,5,'pilotune:exit','"complete"');
INSERT INTO trial_user_attributes VALUES(42,5,'pilotune:host','"node1"');
INSERT INTO trial_user_attributes VALUES(43,5,'pilotune:pool','"local"');
INSERT INTO trial_user_attributes VALUES(44,5,'pilotune:block','"0"');
INSERT INTO trial_user_attributes VALUES(45,5,'pilotune:worker','"node1-c019995474ac/0"');
INSERT INTO trial_user_attributes VALUES(46,5,'pilotune:seconds_waiting','0.039');
INSERT INTO trial_user_attributes VALUES(47,5,'pilotune:seconds_running','2.113');
INSERT INTO trial_user_attributes VALUES(48,5,'pilotune:directory','"/runs/first/20261129-023834-591feb/trials/4"');
INSERT INTO trial_user_attributes VALUES(49,5,'pilotune:bracket','1');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_system_attributes VALUES(1,1,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(2,1,'pilotune:attempt','2');
INSERT INTO trial_system_attributes VALUES(3,2,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(4,2,'pilotune:attempt','1');
INSERT INTO trial_system_attributes VALUES(5,3,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(6,3,'pilotune:attempt','1');
INSERT INTO trial_system_attributes VALUES(7,4,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(8,4,'pilotune:attempt','1');
INSERT INTO trial_system_attributes VALUES(9,5,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(10,5,'pilotune:attempt','2');
INSERT INTO trial_system_attributes VALUES(11,6,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(12,6,'pilotune:attempt','1');
INSERT INTO trial_system_attributes VALUES(13,7,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(14,7,'pilotune:attempt','1');
INSERT INTO trial_system_attributes VALUES(15,8,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(16,8,'pilotune:attempt','1');
INSERT INTO trial_system_attributes VALUES(17,9,'pilotune:campaign','"20261129-023834-591feb"');
INSERT INTO trial_system_attributes VALUES(18,9,'pilotune:attempt','1');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_params VALUES(1,1,'x',0.41702200470257400066,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(2,1,'units',7.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO trial_params VALUES(3,2,'x',0.00011437481734488663676,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(4,2,'units',3.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO trial_params VALUES(5,3,'x',0.14675589081711304384,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(6,3,'units',1.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO trial_params VALUES(7,4,'x',0.1862602113776709034,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(8,4,'units',4.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO trial_params VALUES(9,5,'x',0.39676747423066993647,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(10,5,'units',5.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO trial_params VALUES(11,6,'x',0.41919451440329480451,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(12,6,'units',7.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO trial_params VALUES(13,7,'x',0.20445224973151743252,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(14,7,'units',8.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO trial_params VALUES(15,8,'x',0.027387593197926163313,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(16,8,'units',7.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
INSERT INTO trial_params VALUES(17,9,'x',0.41730480236712697017,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0, "high": 1.0, "log": false}}');
INSERT INTO trial_params VALUES(18,9,'units',6.0,'{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 9}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_values VALUES(1,6,0,0.014207332263837255462,'FINITE');
INSERT INTO trial_values VALUES(2,7,0,0.0091293725813683078429,'FINITE');
INSERT INTO trial_values VALUES(3,8,0,0.074317524342419394312,'FINITE');
INSERT INTO trial_values VALUES(4,5,0,0.0093639440689833718794,'FINITE');
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO trial_intermediate_values VALUES(1,1,1,1.0136941495846092387,'FINITE');
INSERT INTO trial_intermediate_values VALUES(2,2,1,1.0899313881911918411,'FINITE');
INSERT INTO trial_intermediate_values VALUES(3,3,1,1.0234837569992565331,'FINITE');
INSERT INTO trial_intermediate_values VALUES(4,2,2,0.58993138819119195215,'FINITE');
INSERT INTO trial_intermediate_values VALUES(5,4,1,1.0129367395158521691,'FINITE');
INSERT INTO trial_intermediate_values VALUES(6,2,3,0.42326472152452521147,'FINITE');
INSERT INTO trial_intermediate_values VALUES(7,4,2,0.51293673951585205816,'FINITE');
INSERT INTO trial_intermediate_values VALUES(8,5,1,1.009363944068983443,'FINITE');
INSERT INTO trial_intermediate_values VALUES(9,4,3,0.3462700728491854285,'FINITE');
INSERT INTO trial_intermediate_values VALUES(10,5,2,0.50936394406898333198,'FINITE');
INSERT INTO trial_intermediate_values VALUES(11,6,1,1.0142073322638371912,'FINITE');
INSERT INTO trial_intermediate_values VALUES(12,5,3,0.34269727740231670232,'FINITE');
INSERT INTO trial_intermediate_values VALUES(13,6,2,0.51420733226383730229,'FINITE');
INSERT INTO trial_intermediate_values VALUES(14,7,1,1.0091293725813683668,'FINITE');
INSERT INTO trial_intermediate_values VALUES(15,6,3,0.34754066559717056161,'FINITE');
INSERT INTO trial_intermediate_values VALUES(16,7,2,0.5091293725813682558,'FINITE');
INSERT INTO trial_intermediate_values VALUES(17,6,4,0.26420733226383724678,'FINITE');
INSERT INTO trial_intermediate_values VALUES(18,7,3,0.34246270591470162614,'FINITE');
INSERT INTO trial_intermediate_values VALUES(19,6,5,0.21420733226383725789,'FINITE');
INSERT INTO trial_intermediate_values VALUES(20,7,4,0.25912937258136831131,'FINITE');
INSERT INTO trial_intermediate_values VALUES(21,6,6,0.1808739989305039042,'FINITE');
INSERT INTO trial_intermediate_values VALUES(22,7,5,0.20912937258136832241,'FINITE');
INSERT INTO trial_intermediate_values VALUES(23,6,7,0.157064475120980096,'FINITE');
INSERT INTO trial_intermediate_values VALUES(24,7,6,0.17579603924803496872,'FINITE');
INSERT INTO trial_intermediate_values VALUES(25,6,8,0.13920733226383724678,'FINITE');
INSERT INTO trial_intermediate_values VALUES(26,7,7,0.15198651543851116052,'FINITE');
INSERT INTO trial_intermediate_values VALUES(27,6,9,0.12531844337494835173,'FINITE');
INSERT INTO trial_intermediate_values VALUES(28,7,8,0.13412937258136831131,'FINITE');
INSERT INTO trial_intermediate_values VALUES(29,8,1,1.0743175243424194498,'FINITE');
INSERT INTO trial_intermediate_values VALUES(30,7,9,0.12024048369247941625,'FINITE');
INSERT INTO trial_intermediate_values VALUES(31,8,2,0.57431752434241944982,'FINITE');
INSERT INTO trial_intermediate_values VALUES(32,9,1,1.0137604166583906728,'FINITE');
INSERT INTO trial_intermediate_values VALUES(33,8,3,0.40765085767575270914,'FINITE');
INSERT INTO trial_intermediate_values VALUES(35,8,4,0.32431752434241939431,'FINITE');
INSERT INTO trial_intermediate_values VALUES(37,8,5,0.27431752434241940541,'FINITE');
INSERT INTO trial_intermediate_values VALUES(39,8,6,0.24098419100908605172,'FINITE');
INSERT INTO trial_intermediate_values VALUES(41,8,7,0.21717466719956224352,'FINITE');
INSERT INTO trial_intermediate_values VALUES(42,8,8,0.19931752434241939431,'FINITE');
INSERT INTO trial_intermediate_values VALUES(43,8,9,0.18542863545353049925,'FINITE');
INSERT INTO trial_intermediate_values VALUES(44,5,4,0.25936394406898338749,'FINITE');
INSERT INTO trial_intermediate_values VALUES(46,5,5,0.20936394406898337083,'FINITE');
INSERT INTO trial_intermediate_values VALUES(48,5,6,0.17603061073565001715,'FINITE');
INSERT INTO trial_intermediate_values VALUES(50,5,7,0.15222108692612620894,'FINITE');
INSERT INTO trial_intermediate_values VALUES(51,5,8,0.13436394406898335973,'FINITE');
INSERT INTO trial_intermediate_values VALUES(53,5,9,0.12047505518009447855,'FINITE');
INSERT INTO trial_intermediate_values VALUES(63,1,2,0.5136941495846092387,'FINITE');
INSERT INTO trial_intermediate_values VALUES(65,1,3,0.34702748291794255353,'FINITE');
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('v3.2.0.a');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
